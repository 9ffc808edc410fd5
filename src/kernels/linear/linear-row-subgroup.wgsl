// y = act(x @ w^T + bias) + residual, per row.      torch.nn.functional.linear, then ReLU
// or, where w holds a gate's rows and then as many of up:  y = silu(x @ gate^T) * (x @ up^T) + residual.      Qwen3MLP
// linear-subgroup.wgsl for one row: a workgroup is one subgroup and makes SG columns, one a lane. The row's next 32 terms are
// read once by the subgroup, spread over its lanes, and each lane takes them from there. The same sum order. With SwiGLU the
// lower half of the lanes makes columns of the gate, the upper half the same columns of up.
// With KEPT x is RMS-normalised first, h = x / sqrt(mean(x^2) + eps) * gamma, with the sums of rms-norm.wgsl, so the bits are those of
// the two kernels one after the other. Each workgroup does so for itself and keeps h, then makes its tiles of columns in turn.
// A weight larger than one binding comes in pieces of its rows.
enable subgroups;
override WEIGHT: u32 = 0u;     // storage of w: 0 f32, 1 bf16, 2 f16 (two to a u32, low half first), 3 q8, 4 q4
override ACTIVATION: u32 = 0u; // 0 none, 1 ReLU, 2 SwiGLU
const SG = 8u;   // @set lanes of a subgroup
const KEPT = 1u; // @set vec4 of h: K / 4 where x is normalised, 0 where not
const LOADS = (7u + SG) / SG; // vec4 of x that a lane reads for 32 terms
const GROUP = 32u;            // blocks of 8 in a group of 256
const STEP = 4u;              // blocks of 8 that x is read for
const PARTS = (7u + SG) / SG; // vec4 of a lane among the 32 parts of the sum of squares
struct Params {
  rows: u32,      // M
  k4: u32,        // K / 4
  columns: u32,   // rows of this piece of w; half of them with SwiGLU
  first: u32,     // column of y that the piece's first row makes
  y_columns: u32, // N, all pieces together
  has_bias: u32,
  has_residual: u32,
  tiles: u32,     // linear-row-subgroup.wgsl: of columns that a workgroup makes in turn
  unit: u32,      // linear-subgroup.wgsl: 4, the blocks of 8 that a lane unpacks from one read of q8 or q4; as a constant it would unroll the loop
  eps: f32        // linear-row-subgroup.wgsl: of the norm
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;       // [rows, K / 4]
@group(0) @binding(2) var<storage, read> w: array<vec4u>;       // [columns, K / 8] of 2 (f32), 1 (bf16, f16), 1/2 (q8); q4 [columns, K / 256] of 9
@group(0) @binding(3) var<storage, read> scales: array<u32>;    // [columns, K / 32] q8's f16, two to a u32; else any array
@group(0) @binding(4) var<storage, read> bias: array<f32>;      // [y_columns], any array if has_bias is 0
@group(0) @binding(5) var<storage, read> residual: array<f32>;  // [rows, y_columns], any array if has_residual is 0
@group(0) @binding(6) var<storage, read_write> y: array<f32>;   // [rows, y_columns]
@group(0) @binding(7) var<storage, read> gamma: array<vec4f>;   // [K / 4], any array without KEPT
var<workgroup> kept: array<vec4f, KEPT>; // @with KEPT

struct Eight { a: vec4f, b: vec4f, scale: vec2f } // eight weights are scale.x * (a, b) - scale.y
struct Unit { u: vec4u, v: vec4u, scale: vec4f } // what a lane reads of a column at once: a block, 2 of q8, 4 of q4

struct Head { d: vec2f, scales: vec2u, minima: vec2u } // of 256 weights of q4: bytes in the order of their parts

// ggml's Q4_K: 256 weights, 8 parts of 32, in 9 vec4u. The first has f16 d and dmin, then 8 scales and 8 minima of 6 bits.
// A weight is d * scale * value - dmin * minimum.
fn read_head(i: u32) -> Head {
  if (WEIGHT != 4u) { return Head(); }
  let u = w[i];
  let far = vec2u(u.w, u.w >> 4u) & vec2u(0x0f0f0f0fu);
  let top = far | ((u.yz >> vec2u(2u)) & vec2u(0x30303030u));
  let low = u.yz & vec2u(0x3f3f3f3fu);
  return Head(unpack2x16float(u.x), vec2u(low.x, top.x), vec2u(low.y, top.y));
}

// Scale and minimum of the two parts whose nibbles share bytes, from block k of the group on.
fn two_parts(head: Head, k: u32) -> vec4f {
  let u = vec2u(select(head.scales.x, head.scales.y, k >= 16u), select(head.minima.x, head.minima.y, k >= 16u)) >> vec2u((k & 8u) * 2u);
  let bytes = vec4u(u, u >> vec2u(8u)) & vec4u(255u);
  return vec4f(head.d, head.d) * vec4f(bitcast<vec4i>(bytes));
}

fn k8() -> u32 { return p.k4 / 2u; } // blocks of 8 of a row

// Where a column's group of 256 begins in w.
fn group_start(column: u32, group: u32) -> u32 {
  if (WEIGHT == 4u) { return (column * (k8() / GROUP) + group) * 9u; }
  let block = column * k8() + group * GROUP;
  return select(select(block, block / 2u, WEIGHT == 3u), block * 2u, WEIGHT == 0u);
}

// What is read of 4 blocks at once: q8's scale, q4's values and scales.
fn read_four(i: u32, k: u32, scale: u32, head: Head) -> Unit {
  let half = scale + k / 4u;
  if (WEIGHT == 3u) { return Unit(vec4u(), vec4u(), vec4f(unpack2x16float(scales[half / 2u])[half & 1u])); }
  return Unit(w[i + 1u + k / 4u], vec4u(), two_parts(head, k));
}

// Block k of the group that begins at i.
fn read_one(i: u32, k: u32) -> Unit {
  if (WEIGHT == 0u) { return Unit(w[i + 2u * k], w[i + 2u * k + 1u], vec4f()); }
  return Unit(w[i + k], vec4u(), vec4f());
}

fn bf16(u: vec2u) -> vec4f {
  return bitcast<vec4f>(vec4u(u.x << 16u, u.x & 0xffff0000u, u.y << 16u, u.y & 0xffff0000u));
}

fn f16s(u: vec2u) -> vec4f { return vec4f(unpack2x16float(u.x), unpack2x16float(u.y)); }

fn signed_bytes(u: u32) -> vec4f { return vec4f(bitcast<vec4i>(vec4u(u << 24u, u << 16u, u << 8u, u)) >> vec4u(24u)); }

fn nibbles(u: u32) -> vec4f { return vec4f(bitcast<vec4i>(vec4u(u, u >> 8u, u >> 16u, u >> 24u) & vec4u(15u))); }

// Block j of a unit.
fn eight_of_row(unit: Unit, j: u32) -> Eight {
  if (WEIGHT == 0u) { return Eight(bitcast<vec4f>(unit.u), bitcast<vec4f>(unit.v), vec2f()); }
  if (WEIGHT == 1u) { return Eight(bf16(unit.u.xy), bf16(unit.u.zw), vec2f()); }
  if (WEIGHT == 2u) {
    return Eight(f16s(unit.u.xy), f16s(unit.u.zw), vec2f());
  }
  if (WEIGHT == 3u) {
    let two = select(unit.u.xy, unit.u.zw, j % 2u == 1u);
    return Eight(signed_bytes(two.x), signed_bytes(two.y), unit.scale.xy);
  }
  let two = select(unit.u.xy, unit.u.zw, j % 2u == 1u) >> vec2u(4u * (j / 2u));
  let scale = select(unit.scale.xy, unit.scale.zw, j >= 2u);
  return Eight(nibbles(two.x), nibbles(two.y), scale);
}

// The block of 8 that comes k-th.
fn place(k: u32) -> u32 {
  if (WEIGHT != 4u) { return k; }
  return (k & ~6u) | ((k & 2u) << 1u) | ((k & 4u) >> 1u); // 16 low nibbles, 16 high ones 32 further on
}

fn dot8(a: vec4f, b: vec4f, v: Eight) -> f32 {
  let even = fma(b.z, v.b.z, fma(b.x, v.b.x, fma(a.z, v.a.z, a.x * v.a.x)));
  return even + fma(b.w, v.b.w, fma(b.y, v.b.y, fma(a.w, v.a.w, a.y * v.a.y)));
}

// A block's part of the sum; of_x is the sum of its x.
fn block(sum: f32, a: vec4f, b: vec4f, v: Eight, of_x: f32) -> f32 {
  let s = dot8(a, b, v);
  if (WEIGHT == 3u) { return fma(v.scale.x, s, sum); }
  if (WEIGHT == 4u) { return fma(-v.scale.y, of_x, fma(v.scale.x, s, sum)); }
  return sum + s;
}

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

fn activate(v: f32) -> f32 {
  if (ACTIVATION == 1u) { return select(v, 0.0, v < 0.0); } // max() may hide a NaN
  return v;
}

// Term i of the product, a vec4.
fn input(row: u32, i: u32) -> vec4f {
  if (KEPT > 0u) { return kept[i]; } // @with KEPT
  return x[row * p.k4 + i];
}

// h of a row: part t of the sum is that of every 32nd x from t on, and the parts are added in order.
fn keep_normed(row: u32, lane: u32) {
  let start = row * p.k4;
  let width = p.k4;
  var part = array<vec4f, PARTS>();
  for (var s = 0u; s < PARTS; s++) {
    for (var i = s * SG + lane % 8u; i < width; i += 8u) { part[s] = fma(x[start + i], x[start + i], part[s]); }
  }
  var sum = 0.0;
  for (var t = 0u; t < 32u; t++) { sum += subgroupShuffle(part[t / 4u / SG][t % 4u], (t / 4u) % SG); }
  let scale = 1.0 / sqrt(sum / f32(4u * width) + p.eps);
  for (var i = lane; i < width; i += SG) { kept[i] = (x[start + i] * scale) * gamma[i]; } // @with KEPT
}

// Columns of a row from `start` on, one a lane.
fn make_columns(row: u32, start: u32, width: u32, lane: u32) {
  let column = start + lane % width;
  var own = min(column, p.columns - 1u); // columns past the end repeat the last one and are not stored
  if (lane >= width) { own += p.columns; }
  var xi: array<u32, LOADS>;
  for (var i = 0u; i < LOADS; i++) {
    let four = min(i * SG + lane, 2u * STEP - 1u);
    xi[i] = place(four / 2u) * 2u + four % 2u;
  }
  var total = 0.0;
  for (var group = 0u; group * GROUP < k8(); group++) {
    let wi = group_start(own, group);
    let scale = (own * k8() + group * GROUP) / 4u;
    let head = read_head(wi);
    let x_group = group * GROUP * 2u;
    let blocks = min(GROUP, k8() - group * GROUP);
    var part = 0.0;
    var k = 0u;
    for (; k + STEP <= blocks; k += STEP) {
      var a: array<vec4f, LOADS>;
      var of_x: array<f32, LOADS>;
      for (var i = 0u; i < LOADS; i++) {
        a[i] = input(row, x_group + xi[i] + 2u * place(k));
        if (WEIGHT == 4u) {
          let sum = (a[i].x + a[i].y) + (a[i].z + a[i].w);
          of_x[i] = sum + subgroupShuffleXor(sum, 1u);
        }
      }
      var unit: Unit;
      if (WEIGHT >= 3u) { unit = read_four(wi, k, scale, head); }
      for (var j = 0u; j < STEP; j++) {
        if (WEIGHT < 3u) { unit = read_one(wi, k + j); }
        if (WEIGHT == 3u && j % 2u == 0u) { unit.u = w[wi + (k + j) / 2u]; } // 16 at a time: 32 spill registers
        let from_a = subgroupShuffle(a[2u * j / SG], 2u * j % SG);
        let from_b = subgroupShuffle(a[2u * j / SG], 2u * j % SG + 1u);
        var of_block = 0.0;
        if (WEIGHT == 4u) { of_block = subgroupShuffle(of_x[2u * j / SG], 2u * j % SG); }
        part = block(part, from_a, from_b, eight_of_row(unit, j), of_block);
      }
    }
    if (WEIGHT < 3u) { // a row of q8 or q4 is whole steps
      for (; k < blocks; k++) {
        let a = input(row, x_group + 2u * k + min(lane, 1u));
        let unit = read_one(wi, k);
        part = block(part, subgroupShuffle(a, 0u), subgroupShuffle(a, 1u), eight_of_row(unit, 0u), 0.0);
      }
    }
    total += part;
  }
  if (p.has_bias != 0u) { total += bias[p.first + own]; }
  var v = activate(total);
  if (ACTIVATION == 2u) { v = (total / (1.0 + accurate_exp(-total))) * subgroupShuffleXor(total, SG / 2u); }
  if (column < p.columns && lane < width) {
    let i = row * p.y_columns + p.first + column;
    if (p.has_residual != 0u) { v += residual[i]; }
    y[i] = v;
  }
}

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let width = select(SG, SG / 2u, ACTIVATION == 2u); // columns of y that the subgroup makes at once
  let column_tiles = (p.columns + width - 1u) / width;
  let strips = (column_tiles + p.tiles - 1u) / p.tiles;
  let id = group.y * groups.x + group.x;
  let row = id / strips;
  if (row >= p.rows) { return; }
  keep_normed(row, lane); // @with KEPT
  workgroupBarrier();     // @with KEPT
  let tile = (id % strips) * p.tiles;
  for (var t = tile; t < min(tile + p.tiles, column_tiles); t++) { make_columns(row, t * width, width, lane); }
}
