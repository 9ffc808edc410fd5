// y = act(x @ w^T + bias) + residual, per row.      torch.nn.functional.linear, then ReLU
// or, where w holds a gate's rows and then as many of up:  y = silu(x @ gate^T) * (x @ up^T) + residual.      Qwen3MLP
// linear-row-subgroup.wgsl and linear-subgroup.wgsl for one row and a few on GPUs, with their sums and without subgroups: a workgroup
// makes M rows of N columns. Neighbouring threads take neighbouring 16 bytes of a row of w, UNIT blocks of 8 terms, of N rows at once,
// and multiply them by all M rows of x; G groups of 256 terms run beside each other. Then one thread a group and element adds the
// group's 32 blocks in order, and one thread an element the groups in order. What a thread reads next is on its way meanwhile.
// With KEPT x, a single row, is RMS-normalised first, as in linear-row-subgroup.wgsl.
// A weight larger than one binding comes in pieces of its rows.
override WEIGHT: u32 = 0u;     // storage of w: 0 f32, 1 bf16, 2 f16 (two to a u32, low half first), 3 q8, 4 q4
override ACTIVATION: u32 = 0u; // 0 none, 1 ReLU, 2 SwiGLU
const M = 2u;    // @set rows of a tile
const N = 4u;    // @set columns of a tile; with SwiGLU half of them are up's
const G = 4u;    // @set groups of 256 terms at once
const UNIT = 2u; // @set blocks of 8 terms that a thread reads of a row of w at once: 1, q8 2, q4 4
const KEPT = 1u; // @set vec4 of h: K / 4 where x is normalised, 0 where not
const GROUP = 32u;            // blocks of 8 in a group of 256
const LANES = GROUP / UNIT;   // threads of a group
const THREADS = LANES * G;
const STRIDE = GROUP + 1u;    // of a group's blocks: the threads that add them meet different banks
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
var<workgroup> squares: array<vec4f, 8>; // @with KEPT
var<workgroup> sums: array<f32, G * N * M * STRIDE>; // [G, N, M, block] of a block's products
var<workgroup> x_sums: array<f32, select(1u, G * M * STRIDE, UNIT == 4u)>; // [G, M, block] of a block's x
var<workgroup> block_scales: array<vec4f, select(1u, G * N * 8u, UNIT > 1u)>; // [G, N, 4 blocks]
var<workgroup> parts: array<f32, G * N * M>; // of a group
var<workgroup> totals: array<f32, N * M>;

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

// h of the row: part t of the sum is that of every 32nd x from t on, and the parts are added in order. All threads read the row
// at once; 8 of them then add from workgroup memory, where a read takes a tenth of the time.
fn keep_row(thread: u32) {
  let width = p.k4;
  for (var i = thread; i < width; i += THREADS) {
    kept[i] = x[i]; // @with KEPT
  }
  workgroupBarrier();
  if (thread < 8u) {
    var part = vec4f();
    for (var i = thread; i < width; i += 8u) {
      part = fma(kept[i], kept[i], part); // @with KEPT
    }
    squares[thread] = part; // @with KEPT
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var t = 0u; t < 32u; t++) {
    sum += squares[t / 4u][t % 4u]; // @with KEPT
  }
  let scale = 1.0 / sqrt(sum / f32(4u * width) + p.eps);
  for (var i = thread; i < width; i += THREADS) {
    kept[i] = (kept[i] * scale) * gamma[i]; // @with KEPT
  }
  workgroupBarrier();
}

// Row of w of the tile's column n; columns past the end repeat the last one and are not stored.
fn row_of_w(start: u32, n: u32) -> u32 {
  if (ACTIVATION == 2u && n >= N / 2u) { return p.columns + min(start + n - N / 2u, p.columns - 1u); }
  return min(start + n, p.columns - 1u);
}

// The thread's unit of each column; past the end the last one is read again.
fn read_units(start: u32, group: u32, lane: u32) -> array<Unit, N> {
  var units: array<Unit, N>;
  let begin = min(group, (k8() - 1u) / GROUP);
  let k = min(lane * UNIT, k8() - begin * GROUP - UNIT);
  for (var n = 0u; n < N; n++) {
    let own = row_of_w(start, n);
    let wi = group_start(own, begin);
    if (WEIGHT < 3u) {
      units[n] = read_one(wi, k);
    } else {
      units[n] = read_four(wi, k, (own * k8() + begin * GROUP) / 4u, read_head(wi));
    }
    if (WEIGHT == 3u) { units[n].u = w[wi + k / 2u]; }
  }
  return units;
}

// Sums of the thread's blocks, for every row and column of the tile.
fn multiply(row: u32, group: u32, team: u32, lane: u32, units: array<Unit, N>) {
  let blocks = select(1u, p.unit * UNIT / 4u, UNIT > 1u); // UNIT; as a constant it would unroll the loop
  for (var j = 0u; j < blocks; j++) {
    let k = lane * UNIT + j;
    let at = 2u * min(group * GROUP + place(k), k8() - 1u);
    var v: array<Eight, N>;
    for (var n = 0u; n < N; n++) { v[n] = eight_of_row(units[n], j); }
    for (var m = 0u; m < M; m++) {
      let own = min(row + m, p.rows - 1u);
      let a = input(own, at);
      let b = input(own, at + 1u);
      if (WEIGHT == 4u) {
        x_sums[(team * M + m) * STRIDE + k] = ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
      }
      for (var n = 0u; n < N; n++) { sums[((team * N + n) * M + m) * STRIDE + k] = dot8(a, b, v[n]); }
    }
  }
  if (WEIGHT >= 3u && lane * UNIT % 4u == 0u) {
    for (var n = 0u; n < N; n++) { block_scales[(team * N + n) * 8u + lane * UNIT / 4u] = units[n].scale; }
  }
}

// Sum of a group's blocks in order; at: group, column and row of the tile in one number. The loop's bounds are such that Mesa does
// not unroll it: where it lowers fma() it would take a scale out of neighbouring blocks.
fn add_blocks(at: u32, group: u32) -> f32 {
  let start = group * GROUP;
  let end = min(start + GROUP, k8());
  var part = 0.0;
  for (var k = start; k < end; k++) {
    let s = sums[at * STRIDE + k - start];
    if (WEIGHT < 3u) {
      part += s;
    } else {
      let scale = block_scales[at / M * 8u + (k - start) / 4u];
      if (WEIGHT == 3u) {
        part = fma(scale.x, s, part);
      } else {
        let of_block = select(scale.xy, scale.zw, k % 4u >= 2u);
        let of_x = x_sums[(at / (N * M) * M + at % M) * STRIDE + k - start];
        part = fma(-of_block.y, of_x, fma(of_block.x, s, part));
      }
    }
  }
  return part;
}

// The tile's totals. In each turn the thread reads units, adds up what the turn before has left in `sums` while they are on their
// way, and multiplies them.
fn make_tile(row: u32, start: u32, thread: u32) {
  let team = thread / LANES;
  let lane = thread % LANES;
  for (var c = thread; c < N * M; c += THREADS) { totals[c] = 0.0; }
  for (var group = 0u; group < k8() / GROUP + 2u * G; group += G) {
    let units = read_units(start, group + team, lane);
    if (group > 0u) { add_turn(group - G, thread); }
    if (group * GROUP >= k8()) { break; }
    multiply(row, group + team, team, lane, units);
    workgroupBarrier();
  }
}

// Adds the turn's groups, in order, to the totals.
fn add_turn(group: u32, thread: u32) {
  for (var at = thread; at < G * N * M; at += THREADS) { parts[at] = add_blocks(at, group + at / (N * M)); }
  workgroupBarrier();
  for (var c = thread; c < N * M; c += THREADS) {
    for (var g = 0u; g < G; g++) {
      if ((group + g) * GROUP < k8()) { totals[c] += parts[g * N * M + c]; }
    }
  }
  workgroupBarrier();
}

fn with_bias(total: f32, own: u32) -> f32 {
  if (p.has_bias == 0u) { return total; }
  return total + bias[p.first + own];
}

fn store_tile(row: u32, start: u32, width: u32, thread: u32) {
  for (var c = thread; c < width * M; c += THREADS) {
    let n = c / M;
    let total = with_bias(totals[c], row_of_w(start, n));
    var v = activate(total);
    if (ACTIVATION == 2u) {
      let up = with_bias(totals[c + N / 2u * M], row_of_w(start, n + N / 2u));
      v = (total / (1.0 + accurate_exp(-total))) * up;
    }
    if (start + n < p.columns && row + c % M < p.rows) {
      let i = (row + c % M) * p.y_columns + p.first + start + n;
      if (p.has_residual != 0u) { v += residual[i]; }
      y[i] = v;
    }
  }
  workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) thread: u32) {
  let width = select(N, N / 2u, ACTIVATION == 2u); // columns of y of a tile
  let column_tiles = (p.columns + width - 1u) / width;
  let strips = (column_tiles + p.tiles - 1u) / p.tiles;
  let id = group.y * groups.x + group.x;
  let row = (id / strips) * M;
  if (row >= p.rows) { return; }
  keep_row(thread); // @with KEPT
  let tile = (id % strips) * p.tiles;
  for (var t = tile; t < min(tile + p.tiles, column_tiles); t++) {
    make_tile(row, t * width, thread);
    store_tile(row, t * width, width, thread);
  }
}
