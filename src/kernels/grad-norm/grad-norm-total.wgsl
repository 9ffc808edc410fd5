// squares[t] = sum of tensor t's parts; clip = (norm, c), norm = sqrt(sum of squares), c = min(1, max_norm / (norm + 1e-6)).
// torch.nn.utils.clip_grad_norm_, second half. One workgroup: a thread adds a tensor's parts in order, thread 0 the squares.
// c is 1 where max_norm is 0, and -1 where the norm is not finite: adamw.wgsl then changes nothing.
override WG: u32 = 64u; // threads of the one workgroup
struct Params { tensors: u32, max_norm: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;          // [chunks of all tensors]
@group(0) @binding(2) var<storage, read> offsets: array<u32>;        // [tensors + 1], each tensor's first chunk
@group(0) @binding(3) var<storage, read_write> squares: array<f32>;  // [tensors]
@group(0) @binding(4) var<storage, read_write> clip: array<f32>;     // [2]

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  for (var t = lane; t < p.tensors; t += WG) {
    var sum = 0.0;
    for (var i = offsets[t]; i < offsets[t + 1u]; i++) { sum += parts[i]; }
    squares[t] = sum;
  }
  storageBarrier();
  if (lane != 0u) { return; }
  var total = 0.0;
  for (var t = 0u; t < p.tensors; t++) { total += squares[t]; }
  let norm = sqrt(total);
  var c = 1.0;
  if (p.max_norm > 0.0) { c = min(1.0, p.max_norm / (norm + 1e-6)); }
  if ((bitcast<u32>(norm) & 0x7f800000u) == 0x7f800000u) { c = -1.0; }
  clip[0] = norm;
  clip[1] = c;
}
