// target[pairs[i].y] = source[pairs[i].x], per row; other rows of the target stay.      torch.Tensor.index_copy_
// One thread per element. Serves the KV cache, the audio slot of the prompt, and picking rows.
override WG: u32 = 64u; // threads per workgroup
struct Params { count: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;        // [source rows, width]
@group(0) @binding(2) var<storage, read> pairs: array<vec2u>;       // [count] source row, target row
@group(0) @binding(3) var<storage, read_write> into: array<f32>;    // [target rows, width]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.count * p.width) { return; }
  let pair = pairs[i / p.width];
  into[pair.y * p.width + i % p.width] = source[pair.x * p.width + i % p.width];
}
