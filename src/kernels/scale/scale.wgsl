// y = x * factor, or 0 where a seeded draw says so, per element.      torch.mul, torch.nn.functional.dropout
// Element i is dropped if a hash of seed and i lies below `threshold`; the same seed drops the same elements again.
override WG: u32 = 64u; // threads per workgroup
struct Params {
  count: u32,
  factor: f32,
  seed: u32,
  threshold: u32 // probability of a drop times 2^32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [count]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [count]

fn lowbias32(value: u32) -> u32 { // an integer hash
  var h = value;
  h = (h ^ (h >> 16u)) * 0x7feb352du;
  h = (h ^ (h >> 15u)) * 0x846ca68bu;
  return h ^ (h >> 16u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.count) { return; }
  let draw = lowbias32(lowbias32(p.seed) + i);
  y[i] = select(x[i] * p.factor, 0.0, draw < p.threshold);
}
