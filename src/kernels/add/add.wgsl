// y = a + b, per element.      torch.add
// A thread takes EACH elements, WG apart.
override WG: u32 = 64u; // threads per workgroup
const EACH = 8u;
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;        // [count]
@group(0) @binding(2) var<storage, read> b: array<f32>;        // [count]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [count]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let first = (group.y * groups.x + group.x) * (WG * EACH) + lane;
  for (var i = first; i < min(first + WG * EACH, p.count); i += WG) { y[i] = a[i] + b[i]; }
}
