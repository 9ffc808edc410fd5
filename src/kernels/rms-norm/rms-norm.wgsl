// y = x / sqrt(mean(x^2) + eps) * gamma, per row.      Qwen3RMSNorm
// One workgroup per row; each thread sums a strided part, then every thread adds the WG parts in order.
override WG: u32 = 32u; // threads per row
struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, width]
@group(0) @binding(2) var<storage, read> gamma: array<f32>;    // [width]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [rows, width]
var<workgroup> parts: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let start = row * p.width;
  var part = 0.0;
  for (var i = lane; i < p.width; i += WG) { part = fma(x[start + i], x[start + i], part); }
  parts[lane] = part;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < WG; i++) { sum += parts[i]; }
  let scale = 1.0 / sqrt(sum / f32(p.width) + p.eps);
  for (var i = lane; i < p.width; i += WG) { y[start + i] = (x[start + i] * scale) * gamma[i]; }
}
