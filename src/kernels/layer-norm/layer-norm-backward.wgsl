// dx = (a - mean(a) - n * mean(a * n)) * s + earlier, a = dy * gamma, n = (x - mean) * s, s = 1 / sqrt(var + eps), per row.
// torch.autograd of torch.nn.LayerNorm. LANES threads per row, WG / LANES rows per workgroup. As in layer-norm.wgsl the mean comes
// first, then sums over d = x - mean, and the mean of d, what rounding left of the first mean, is taken off as well.
// Each thread sums a strided part, then every thread adds its row's parts in order. Mean, rest and s are kept for the gradient
// of gamma (column-sum-normed.wgsl).
const WG = 32u;            // threads
override LANES: u32 = 32u; // threads per row, a divisor of WG
struct Params { rows: u32, width: u32, has_earlier: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // [rows, width]
@group(0) @binding(2) var<storage, read> x: array<f32>;              // [rows, width]
@group(0) @binding(3) var<storage, read> gamma: array<f32>;          // [width]
@group(0) @binding(4) var<storage, read> earlier: array<f32>;        // [rows, width] a gradient of x from elsewhere; any array if has_earlier is 0
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;       // [rows, width]
@group(0) @binding(6) var<storage, read_write> stats: array<vec4f>;  // [rows] mean, rest, s, 0
var<workgroup> parts: array<vec4f, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) thread: u32) {
  let row = (group.y * groups.x + group.x) * (WG / LANES) + thread / LANES;
  let lane = thread % LANES;
  let own = thread - lane; // the row's first part
  let width = select(0u, p.width, row < p.rows); // a row past the end has nothing
  let start = row * p.width;
  let n = f32(p.width);
  var pair = vec2f(0.0);
  for (var i = lane; i < width; i += LANES) { pair += vec2f(x[start + i], dy[start + i] * gamma[i]); }
  parts[thread] = vec4f(pair, 0.0, 0.0);
  workgroupBarrier();
  var means = vec2f(0.0); // of x and of a
  for (var i = 0u; i < LANES; i++) { means += parts[own + i].xy; }
  means /= n;
  workgroupBarrier();
  var part = vec4f(0.0);
  for (var i = lane; i < width; i += LANES) {
    let d = x[start + i] - means.x;
    let e = fma(dy[start + i], gamma[i], -means.y);
    part += vec4f(d, d * d, e, e * d);
  }
  parts[thread] = part;
  workgroupBarrier();
  var sums = vec4f(0.0);
  for (var i = 0u; i < LANES; i++) { sums += parts[own + i]; }
  sums /= n;
  let rest = sums.x;
  let scale = 1.0 / sqrt(sums.y - rest * rest + p.eps);
  let slope = (sums.w - sums.z * rest) * scale * scale;
  for (var i = lane; i < width; i += LANES) {
    let e = fma(dy[start + i], gamma[i], -means.y) - sums.z;
    var value = fma(-((x[start + i] - means.x) - rest), slope, e) * scale;
    if (p.has_earlier != 0u) { value += earlier[start + i]; }
    dx[start + i] = value;
  }
  if (lane == 0u && row < p.rows) { stats[row] = vec4f(means.x, rest, scale, 0.0); }
}
