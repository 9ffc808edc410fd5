// y = act(x @ w^T + bias) + residual, per row.      torch.nn.functional.linear, then ReLU
// linear.wgsl for devices whose subgroups have one known size SG: a workgroup is one subgroup and makes TM rows by
// TN * SG columns; a lane holds TM rows of TN columns. The rows' next 8 terms are read once by the subgroup, spread over
// its lanes, and each lane takes them from there. No workgroup memory, no barrier.
// Sum order of every element: in a block of 8 consecutive k the even ones in order, the odd ones in order, then both; 32
// blocks in order make a group of 256; then the groups in order. q8 and q4 scale a block's sum, not its weights; q4's blocks
// follow each other as its nibbles do.
// It depends on K alone, so a row's result does not depend on its neighbours nor on the tile.
// A weight larger than one binding comes in pieces of its rows.
enable subgroups;
override WEIGHT: u32 = 0u;     // storage of w: 0 f32, 1 bf16, 2 f16 (two to a u32, low half first), 3 q8, 4 q4
override ACTIVATION: u32 = 0u; // 0 none, 1 ReLU
const SG = 8u;  // @set lanes of a subgroup
const TM = 16u; // @set rows of a tile
const TN = 2u;  // @set columns of a lane
const LOADS = (2u * TM + SG - 1u) / SG; // vec4 of x that a lane reads for 8 terms
const GROUP = 32u;                      // blocks of 8 in a group of 256
alias Tile = array<array<f32, TN>, TM>;
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

struct Eight { a: vec4f, b: vec4f, scale: vec2f } // eight weights are scale.x * (a, b) - scale.y
struct Unit { u: vec4u, v: vec4u, scale: vec4f } // what a lane reads of a column at once: a block, or 4 if quantized

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

// Block k of the group that begins at i, and 3 more if quantized.
fn read_unit(i: u32, k: u32, scale: u32, head: Head) -> Unit {
  if (WEIGHT == 0u) { return Unit(w[i + 2u * k], w[i + 2u * k + 1u], vec4f()); }
  if (WEIGHT == 3u) {
    let half = scale + k / 4u;
    return Unit(w[i + k / 2u], w[i + k / 2u + 1u], vec4f(unpack2x16float(scales[half / 2u])[half & 1u]));
  }
  if (WEIGHT == 4u) { return Unit(w[i + 1u + k / 4u], vec4u(), two_parts(head, k)); }
  return Unit(w[i + k], vec4u(), vec4f());
}

fn bf16(u: vec2u) -> vec4f {
  return bitcast<vec4f>(vec4u(u.x << 16u, u.x & 0xffff0000u, u.y << 16u, u.y & 0xffff0000u));
}

fn f16s(u: vec2u) -> vec4f { return vec4f(unpack2x16float(u.x), unpack2x16float(u.y)); }

fn signed_bytes(u: u32) -> vec4f { return vec4f(bitcast<vec4i>(vec4u(u << 24u, u << 16u, u << 8u, u)) >> vec4u(24u)); }

fn nibbles(u: u32) -> vec4f { return vec4f(bitcast<vec4i>(vec4u(u, u >> 8u, u >> 16u, u >> 24u) & vec4u(15u))); }

// Block j of a unit.
fn eight(unit: Unit, j: u32) -> Eight {
  if (WEIGHT == 0u) { return Eight(bitcast<vec4f>(unit.u), bitcast<vec4f>(unit.v), vec2f()); }
  if (WEIGHT == 1u) { return Eight(bf16(unit.u.xy), bf16(unit.u.zw), vec2f()); }
  if (WEIGHT == 2u) {
    return Eight(f16s(unit.u.xy), f16s(unit.u.zw), vec2f());
  }
  if (WEIGHT == 3u) {
    let four = select(unit.u, unit.v, j >= 2u);
    let two = select(four.xy, four.zw, j % 2u == 1u);
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

fn activate(v: f32) -> f32 {
  if (ACTIVATION == 1u) { return select(v, 0.0, v < 0.0); } // max() may hide a NaN
  return v;
}

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let tile = group.y * groups.x + group.x;
  let column_tiles = (p.columns + TN * SG - 1u) / (TN * SG);
  let row = (tile / column_tiles) * TM;
  let column = (tile % column_tiles) * (TN * SG) + lane;
  if (row >= p.rows) { return; }
  var xi: array<u32, LOADS>; // rows and columns past the end repeat the last one and are not stored
  var own: array<u32, TN>;
  for (var i = 0u; i < LOADS; i++) {
    let place = i * SG + lane;
    xi[i] = min(row + place / 2u, p.rows - 1u) * p.k4 + place % 2u;
  }
  for (var n = 0u; n < TN; n++) { own[n] = min(column + n * SG, p.columns - 1u); }
  let unit_blocks = select(1u, p.unit, WEIGHT >= 3u);
  var total = Tile();
  for (var group = 0u; group * GROUP < k8(); group++) {
    var part = Tile();
    var wi: array<u32, TN>;
    var head: array<Head, TN>;
    for (var n = 0u; n < TN; n++) {
      wi[n] = group_start(own[n], group);
      head[n] = read_head(wi[n]);
    }
    let blocks = min(GROUP, k8() - group * GROUP);
    for (var start = 0u; start < blocks; start += unit_blocks) {
      var unit: array<Unit, TN>;
      for (var n = 0u; n < TN; n++) { unit[n] = read_unit(wi[n], start, (own[n] * k8() + group * GROUP) / 4u, head[n]); }
      for (var j = 0u; j < unit_blocks; j++) {
        var a: array<vec4f, LOADS>;
        var of_x: array<f32, LOADS>;
        for (var i = 0u; i < LOADS; i++) {
          a[i] = x[xi[i] + 2u * (group * GROUP + place(start + j))];
          if (WEIGHT == 4u) { // both halves of a block are in neighbouring lanes
            let four = (a[i].x + a[i].y) + (a[i].z + a[i].w);
            of_x[i] = four + subgroupShuffleXor(four, 1u);
          }
        }
        for (var n = 0u; n < TN; n++) {
          let b = eight(unit[n], j);
          for (var m = 0u; m < TM; m++) {
            let from_a = subgroupShuffle(a[2u * m / SG], 2u * m % SG);
            let from_b = subgroupShuffle(a[2u * m / SG], 2u * m % SG + 1u);
            var of_row = 0.0;
            if (WEIGHT == 4u) { of_row = subgroupShuffle(of_x[2u * m / SG], 2u * m % SG); }
            part[m][n] = block(part[m][n], from_a, from_b, b, of_row);
          }
        }
      }
    }
    for (var m = 0u; m < TM; m++) {
      for (var n = 0u; n < TN; n++) { total[m][n] += part[m][n]; }
    }
  }
  for (var n = 0u; n < TN; n++) {
    if (column + n * SG < p.columns) {
      let at = p.first + column + n * SG;
      var add = 0.0;
      if (p.has_bias != 0u) { add = bias[at]; }
      for (var m = 0u; m < TM; m++) {
        if (row + m < p.rows) {
          let i = (row + m) * p.y_columns + at;
          var v = activate(total[m][n] + add);
          if (p.has_residual != 0u) { v += residual[i]; }
          y[i] = v;
        }
      }
    }
  }
}
