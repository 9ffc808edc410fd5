// dx = (a - x * s^2 * mean(a * x)) * s + earlier, a = dy * gamma, s = 1 / sqrt(mean(x^2) + eps), per row.
// torch.autograd of Qwen3RMSNorm. LANES threads per row, WG / LANES rows per workgroup; each thread sums a strided part, then every
// thread adds its row's parts in order. Each row's s is kept for the gradient of gamma (column-sum-normed.wgsl).
const WG = 32u;            // threads
override LANES: u32 = 32u; // threads per row, a divisor of WG
struct Params { rows: u32, width: u32, has_earlier: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // [rows, width]
@group(0) @binding(2) var<storage, read> x: array<f32>;              // [rows, width]
@group(0) @binding(3) var<storage, read> gamma: array<f32>;          // [width]
@group(0) @binding(4) var<storage, read> earlier: array<f32>;        // [rows, width] a gradient of x from elsewhere; any array if has_earlier is 0
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;       // [rows, width]
@group(0) @binding(6) var<storage, read_write> stats: array<vec4f>;  // [rows] 0, 0, s, 0
var<workgroup> parts: array<vec2f, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) thread: u32) {
  let row = (group.y * groups.x + group.x) * (WG / LANES) + thread / LANES;
  let lane = thread % LANES;
  let width = select(0u, p.width, row < p.rows); // a row past the end has nothing
  let start = row * p.width;
  var part = vec2f(0.0);
  for (var i = lane; i < width; i += LANES) {
    let value = x[start + i];
    part = fma(vec2f(value), vec2f(value, dy[start + i] * gamma[i]), part);
  }
  parts[thread] = part;
  workgroupBarrier();
  var sums = vec2f(0.0);
  for (var i = 0u; i < LANES; i++) { sums += parts[thread - lane + i]; }
  sums /= f32(p.width);
  let scale = 1.0 / sqrt(sums.x + p.eps);
  let slope = sums.y * scale * scale;
  for (var i = lane; i < width; i += LANES) {
    var value = fma(-x[start + i], slope, dy[start + i] * gamma[i]) * scale;
    if (p.has_earlier != 0u) { value += earlier[start + i]; }
    dx[start + i] = value;
  }
  if (lane == 0u && row < p.rows) { stats[row] = vec4f(0.0, 0.0, scale, 0.0); }
}
