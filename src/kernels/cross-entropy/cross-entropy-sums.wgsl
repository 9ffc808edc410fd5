// sums[r, c, t] = sum over every 64th j from 1024 c + t on of (exp(x[r, j] - m), x[r, j] - m), m the largest score of row r.
// cross-entropy.wgsl for GPUs, 2 of 4: the blocks of 16 terms of its 64 threads, those of 1,024 scores by each workgroup.
const WG = 64u;    // threads of a workgroup, and parts of a row's sum
const BLOCK = 16u; // terms
struct Params { rows: u32, width: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [rows, width]
@group(0) @binding(2) var<storage, read> largest: array<f32>;       // [rows, parts]
@group(0) @binding(3) var<storage, read_write> sums: array<vec2f>;  // [rows, parts, WG]
var<workgroup> found: array<f32, WG>;

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
  let id = group.y * groups.x + group.x;
  let row = id / p.parts;
  if (row >= p.rows) { return; }
  let at = row * p.width;
  let best = largest_of(row, lane);
  let start = (id % p.parts) * BLOCK * WG + lane;
  var block = vec2f();
  for (var i = start; i < min(start + BLOCK * WG, p.width); i += WG) {
    let v = x[at + i] - best;
    block += vec2f(accurate_exp(v), v);
  }
  sums[id * WG + lane] = block;
}
