// x[r, j] = (softmax(x[r])[j] - (1 - smoothing) [j == label] - smoothing / width) * factor.      torch.nn.functional.cross_entropy
// cross-entropy.wgsl for GPUs, 4 of 4: the gradient of factor * loss[r] takes the place of the scores, 1,024 by each workgroup.
override WG: u32 = 64u; // threads of a workgroup
const PART = 1024u; // scores of a workgroup
struct Params { rows: u32, width: u32, parts: u32, first: u32, smoothing: f32, factor: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;   // [at least first + rows]
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;  // [rows] largest score, sum of exp(score - largest)
@group(0) @binding(3) var<storage, read_write> x: array<f32>;  // [rows, width]

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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let id = group.y * groups.x + group.x;
  let row = id / p.parts;
  if (row >= p.rows) { return; }
  let start = (id % p.parts) * PART;
  let at = row * p.width;
  let label = labels[p.first + row];
  let best = stats[row].x;
  let on = 1.0 - p.smoothing;
  let scaled = p.factor / stats[row].y;
  let off = p.smoothing / f32(p.width) * p.factor;
  for (var i = start + lane; i < min(start + PART, p.width); i += WG) {
    let share = accurate_exp(x[at + i] - best) * scaled - off;
    x[at + i] = share - select(0.0, on * p.factor, i == label);
  }
}
