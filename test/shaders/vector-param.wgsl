// y = a.x.      A Params field that is no 4-byte scalar, which the loader refuses.
struct Params { count: u32, a: vec2f }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [1]

@compute @workgroup_size(1)
fn main() { y[0] = p.a.x; }
