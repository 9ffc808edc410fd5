// y = x.      Bindings 1 and 3 without 2, which the loader refuses.
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [count]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3u) { y[group.x] = x[group.x]; }
