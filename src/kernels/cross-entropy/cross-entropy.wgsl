// loss[r] = log(sum over j of exp(x[r, j])) - (1 - smoothing) * x[r, label] - smoothing * mean of x[r].      torch.nn.functional.cross_entropy
// One workgroup per row: the maximum, then the sums, then (GRADIENT) x[r, j] becomes the gradient of factor * loss[r]:
// (softmax(x[r])[j] - (1 - smoothing) [j == label] - smoothing / width) * factor. Strided parts, one per thread, each in blocks of 16
// terms; the parts are added in order.
override GRADIENT: bool = false;
override WG: u32 = 64u; // threads per row
const BLOCK = 16u;
struct Params {
  rows: u32,
  width: u32,
  first: u32, // row of labels and losses that belongs to x's first
  smoothing: f32,
  factor: f32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;       // [at least first + rows]
@group(0) @binding(2) var<storage, read_write> x: array<f32>;      // [rows, width]
@group(0) @binding(3) var<storage, read_write> losses: array<f32>; // [at least first + rows]
var<workgroup> parts: array<vec2f, WG>;

// exp to 1.5e-7 relative: the built-in was measured at 4e-6 on lavapipe and SwiftShader, where exp(NaN) was infinity.
// exp(x) = 2^n exp(r), |r| <= ln(2) / 2. The first product is formed in integers so that no compiler merges the two
// parts of n ln(2) (45426 / 65536 + 1.42860677e-6). Subnormal results are 0.
fn accurate_exp(x: f32) -> f32 {
  let t = select(select(x, -88.0, x < -88.0), 89.0, x > 89.0); // NaN stays
  let n = i32(round(t * 1.44269504));
  let r = (t - f32(n * 45426) * 0x1p-16) - f32(n) * 1.42860677e-6;
  var q = fma(r, 1.0 / 5040.0, 1.0 / 720.0); // Taylor series
  q = fma(r, fma(r, fma(r, fma(r, q, 1.0 / 120.0), 1.0 / 24.0), 1.0 / 6.0), 0.5);
  return (1.0 + fma(r * r, q, r)) * bitcast<f32>((n + 127) << 23u);
}

// log of a positive normal number to 2e-7 relative to the larger of it and 1: the built-in's error is the driver's.
// v = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 (s + s^3 / 3 + s^5 / 5 + ...), s = (m - 1) / (m + 1).
fn accurate_log(v: f32) -> f32 {
  let bits = bitcast<u32>(v);
  if (bits >= 0x7f800000u) { return v; } // infinity and NaN stay
  let e = (i32(bits) - 0x3f3504f3) >> 23u;
  let m = bitcast<f32>(i32(bits) - (e << 23u));
  let s = (m - 1.0) / (m + 1.0);
  let t = s * s;
  let q = fma(t, fma(t, fma(t, fma(t, 1.0 / 11.0, 1.0 / 9.0), 1.0 / 7.0), 0.2), 1.0 / 3.0);
  let n = f32(e);
  return fma(n, 0.693359375, fma(n, -2.12194440e-4, 2.0 * fma(s * t, q, s)));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let at = row * p.width;
  var best = -0x1.fffffep+127f;
  for (var i = lane; i < p.width; i += WG) { best = select(best, x[at + i], x[at + i] > best); }
  parts[lane] = vec2f(best);
  workgroupBarrier();
  for (var t = 0u; t < WG; t++) { best = max(best, parts[t].x); }
  workgroupBarrier();
  var sums = vec2f(); // of exp(x - best) and of x - best
  for (var start = lane; start < p.width; start += BLOCK * WG) {
    var block = vec2f();
    for (var i = start; i < min(start + BLOCK * WG, p.width); i += WG) {
      let v = x[at + i] - best;
      block += vec2f(accurate_exp(v), v);
    }
    sums += block;
  }
  parts[lane] = sums;
  workgroupBarrier();
  sums = vec2f();
  for (var t = 0u; t < WG; t++) { sums += parts[t]; }
  let label = labels[p.first + row];
  let on = 1.0 - p.smoothing;
  if (lane == 0u) {
    let score = x[at + label] - best;
    losses[p.first + row] = accurate_log(sums.x) - on * score - p.smoothing * sums.y / f32(p.width);
  }
  if (!GRADIENT) { return; }
  workgroupBarrier(); // the label's score has been read
  let scaled = p.factor / sums.x;
  let off = p.smoothing / f32(p.width) * p.factor;
  for (var i = lane; i < p.width; i += WG) {
    let share = accurate_exp(x[at + i] - best) * scaled - off;
    x[at + i] = share - select(0.0, on * p.factor, i == label);
  }
}
