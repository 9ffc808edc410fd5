// y = x / sqrt(mean(x^2) + eps) * gamma, per row.      Qwen3RMSNorm
// LANES threads per row, WG / LANES rows per workgroup. A row is summed in WG strided parts, whatever LANES is; then every thread
// adds its row's parts in order.
const WG = 32u;            // threads
override LANES: u32 = 32u; // threads per row, a divisor of WG
struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, width]
@group(0) @binding(2) var<storage, read> gamma: array<f32>;    // [width]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [rows, width]
var<workgroup> parts: array<f32, (WG / LANES) * WG>; // [row, part]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) thread: u32) {
  let own = thread / LANES; // row of the workgroup
  let row = (group.y * groups.x + group.x) * (WG / LANES) + own;
  let lane = thread % LANES;
  let width = select(0u, p.width, row < p.rows); // a row past the end has nothing
  let start = row * p.width;
  for (var j = lane; j < WG; j += LANES) {
    var part = 0.0;
    for (var i = j; i < width; i += WG) { part = fma(x[start + i], x[start + i], part); }
    parts[own * WG + j] = part;
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < WG; i++) { sum += parts[own * WG + i]; }
  let scale = 1.0 / sqrt(sum / f32(p.width) + p.eps);
  for (var i = lane; i < width; i += LANES) { y[start + i] = (x[start + i] * scale) * gamma[i]; }
}
