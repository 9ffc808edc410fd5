// dx = (a - mean(a) - n * mean(a * n)) * s, a = dy * gamma, n = (x - mean) * s, s = 1 / sqrt(var + eps), per row.
// torch.autograd of torch.nn.LayerNorm. One workgroup per row. As in layer-norm.wgsl the mean comes first, then sums over
// d = x - mean, and the mean of d, what rounding left of the first mean, is taken off as well.
// Each thread sums a strided part, then every thread adds the WG parts in order. Mean, rest and s are kept for the gradient
// of gamma (column-sum-normed.wgsl).
override WG: u32 = 32u; // threads per row
struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // [rows, width]
@group(0) @binding(2) var<storage, read> x: array<f32>;              // [rows, width]
@group(0) @binding(3) var<storage, read> gamma: array<f32>;          // [width]
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;       // [rows, width]
@group(0) @binding(5) var<storage, read_write> stats: array<vec4f>;  // [rows] mean, rest, s, 0
var<workgroup> parts: array<vec4f, WG>;

fn sum_of_parts() -> vec4f {
  var sum = vec4f(0.0);
  for (var i = 0u; i < WG; i++) { sum += parts[i]; }
  return sum;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let start = row * p.width;
  let n = f32(p.width);
  var part = vec4f(0.0);
  for (var i = lane; i < p.width; i += WG) { part += vec4f(x[start + i], dy[start + i] * gamma[i], 0.0, 0.0); }
  parts[lane] = part;
  workgroupBarrier();
  let means = sum_of_parts() / n; // of x and of a
  workgroupBarrier();
  part = vec4f(0.0);
  for (var i = lane; i < p.width; i += WG) {
    let d = x[start + i] - means.x;
    let e = fma(dy[start + i], gamma[i], -means.y);
    part += vec4f(d, d * d, e, e * d);
  }
  parts[lane] = part;
  workgroupBarrier();
  let sums = sum_of_parts() / n;
  let rest = sums.x;
  let scale = 1.0 / sqrt(sums.y - rest * rest + p.eps);
  let slope = (sums.w - sums.z * rest) * scale * scale;
  for (var i = lane; i < p.width; i += WG) {
    let e = fma(dy[start + i], gamma[i], -means.y) - sums.z;
    dx[start + i] = fma(-((x[start + i] - means.x) - rest), slope, e) * scale;
  }
  if (lane == 0u) { stats[row] = vec4f(means.x, rest, scale, 0.0); }
}
