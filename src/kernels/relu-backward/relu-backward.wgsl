// dx = dy where y > 0, else 0, per element.      torch.autograd of torch.relu, which linear.wgsl applies
// A NaN in y lets dy through, as in PyTorch.
override WG: u32 = 64u; // threads per workgroup
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;        // [count]
@group(0) @binding(2) var<storage, read> y: array<f32>;         // [count]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;  // [count]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i < p.count) { dx[i] = select(dy[i], 0.0, y[i] <= 0.0); }
}
