// m = m + (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; x = x shrink - step m / (sqrt(v) / root + eps); gradient = 0, per element.
// torch.optim.AdamW: shrink = 1 - lr decay, step = lr / (1 - b1^t), root = sqrt(1 - b2^t), g = gradient clip[1].
// One thread per element. A negative clip[1] says that the gradients are not finite: nothing changes.
override WG: u32 = 64u; // threads per workgroup
struct Params { count: u32, shrink: f32, step: f32, root: f32, take1: f32, keep2: f32, take2: f32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clip: array<f32>;            // [2], norm and factor
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;  // [count]
@group(0) @binding(3) var<storage, read_write> m: array<f32>;         // [count]
@group(0) @binding(4) var<storage, read_write> v: array<f32>;         // [count]
@group(0) @binding(5) var<storage, read_write> x: array<f32>;         // [count]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.count || clip[1] < 0.0) { return; }
  let g = gradient[i] * clip[1];
  let mean = m[i] + p.take1 * (g - m[i]);
  let square = v[i] * p.keep2 + p.take2 * g * g;
  m[i] = mean;
  v[i] = square;
  x[i] = x[i] * p.shrink - p.step * (mean / (sqrt(square) / p.root + p.eps));
  gradient[i] = 0.0;
}
