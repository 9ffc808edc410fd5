// loss[r] = log(sum over j of exp(x[r, j])) - (1 - smoothing) * x[r, label] - smoothing * mean of x[r].      torch.nn.functional.cross_entropy
// cross-entropy.wgsl for GPUs, 3 of 4. One workgroup per row: each thread adds its blocks in order, then the threads' sums in order.
const WG = 64u;   // threads per row
const AHEAD = 8u; // blocks that a thread reads at once
struct Params { rows: u32, width: u32, parts: u32, first: u32, smoothing: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;        // [at least first + rows]
@group(0) @binding(2) var<storage, read> x: array<f32>;             // [rows, width]
@group(0) @binding(3) var<storage, read> largest: array<f32>;       // [rows, parts]
@group(0) @binding(4) var<storage, read> sums: array<vec2f>;        // [rows, parts, WG]
@group(0) @binding(5) var<storage, read_write> stats: array<vec2f>; // [rows] largest score, sum of exp(score - largest)
@group(0) @binding(6) var<storage, read_write> losses: array<f32>;  // [at least first + rows]
var<workgroup> found: array<f32, WG>;
var<workgroup> added: array<vec2f, WG>;

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

// Largest score of a row.
fn largest_of(row: u32, lane: u32) -> f32 {
  var best = -0x1.fffffep+127f;
  for (var c = lane; c < p.parts; c += WG) { best = max(best, largest[row * p.parts + c]); }
  found[lane] = best;
  workgroupBarrier();
  for (var t = 0u; t < WG; t++) { best = max(best, found[t]); }
  return best;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let best = largest_of(row, lane);
  var sum = vec2f();
  for (var c = 0u; c < p.parts; c += AHEAD) {
    var block: array<vec2f, AHEAD>;
    for (var i = 0u; i < AHEAD; i++) { block[i] = sums[(row * p.parts + min(c + i, p.parts - 1u)) * WG + lane]; }
    for (var i = 0u; i < AHEAD; i++) { sum += select(vec2f(), block[i], c + i < p.parts); }
  }
  added[lane] = sum;
  workgroupBarrier();
  if (lane != 0u) { return; }
  sum = vec2f();
  for (var t = 0u; t < WG; t++) { sum += added[t]; }
  let score = x[row * p.width + labels[p.first + row]] - best;
  stats[row] = vec2f(best, sum.x);
  losses[p.first + row] = accurate_log(sum.x) - (1.0 - p.smoothing) * score - p.smoothing * sum.y / f32(p.width);
}
