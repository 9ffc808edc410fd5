// y = act(x @ w^T + bias) + residual, per row.      torch.nn.functional.linear, then ReLU
// One thread per tile of TM rows and TN columns, held in registers; neighbouring threads take neighbouring columns.
// Sum order of every element: 16 consecutive k in order, 16 such blocks in order, then those groups of 256 in order.
// It depends on K alone, so a row's result does not depend on its neighbours. Short blocks round less: over the golden
// bundles the median error is 0.96 of PyTorch's with plain blocks of 64, 0.76 so; at K from 1024 to 12288 it is 0.5 to 0.6.
// A weight larger than one binding comes in pieces of its rows.
override WEIGHT: u32 = 0u;     // storage of w: 0 f32, 1 bf16, 2 f16 (two to a u32, low half first), 3 q8, 4 q4
override ACTIVATION: u32 = 0u; // 0 none, 1 ReLU
override WG: u32 = 32u; // threads per workgroup
const TM = 4u; // @set rows of a tile: 1 for few rows, so that a single token still fills the device
const TN = 4u;
const BLOCK = 4u;  // in vec4: 16 terms
const GROUP = 64u; // in vec4: 256 terms
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
@group(0) @binding(2) var<storage, read> w: array<vec2u>;       // [columns, K / 4] of 2 (f32), 1 (bf16, f16), 1/2 (q8); q4 [columns, K / 256] of 18
@group(0) @binding(3) var<storage, read> scales: array<u32>;    // [columns, K / 32] q8's f16, two to a u32; else any array
@group(0) @binding(4) var<storage, read> bias: array<f32>;      // [y_columns], any array if has_bias is 0
@group(0) @binding(5) var<storage, read> residual: array<f32>;  // [rows, y_columns], any array if has_residual is 0
@group(0) @binding(6) var<storage, read_write> y: array<f32>;   // [rows, y_columns]

fn word(i: u32) -> u32 { return w[i >> 1u][i & 1u]; }

// q4 is ggml's Q4_K: 256 weights in 36 words: f16 d and dmin; 8 scales and 8 minima of 6 bits; 128 bytes of two 4-bit
// values, the low halves 32 weights before the high ones. A weight is d * scale * value - dmin * minimum.
fn q4(i: u32) -> vec4f {
  let block = (i / 64u) * 36u;
  let part = (i % 64u) / 8u; // of 32 weights
  let d = unpack2x16float(word(block));
  let near = word(block + 1u + (part >> 2u)) >> (8u * (part & 3u));
  let far = word(block + 2u + (part >> 2u)) >> (8u * (part & 3u));
  var scale = near & 63u;
  var minimum = far & 63u;
  if (part >= 4u) {
    scale = (far & 15u) | (((word(block + 1u) >> (8u * (part & 3u))) >> 2u) & 48u);
    minimum = ((far >> 4u) & 15u) | ((near >> 2u) & 48u);
  }
  let values = word(block + 4u + (part >> 1u) * 8u + i % 8u) >> (4u * (part & 1u));
  let v = vec4f(bitcast<vec4i>(vec4u(values, values >> 8u, values >> 16u, values >> 24u) & vec4u(15u)));
  return (d.x * f32(scale)) * v - vec4f(d.y * f32(minimum));
}

fn weights(i: u32) -> vec4f {
  if (WEIGHT == 0u) {
    return vec4f(bitcast<vec2f>(w[2u * i]), bitcast<vec2f>(w[2u * i + 1u]));
  }
  if (WEIGHT == 3u) {
    let scale = unpack2x16float(scales[i >> 4u])[(i >> 3u) & 1u];
    let u = word(i);
    return vec4f(bitcast<vec4i>(vec4u(u << 24u, u << 16u, u << 8u, u)) >> vec4u(24u)) * scale;
  }
  if (WEIGHT == 4u) { return q4(i); }
  let u = w[i];
  if (WEIGHT == 1u) {
    return bitcast<vec4f>(vec4u(u.x << 16u, u.x & 0xffff0000u, u.y << 16u, u.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(u.x), unpack2x16float(u.y));
}

fn mac(a: vec4f, b: vec4f, sum: f32) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

fn accumulate(into: ptr<function, Tile>, tile: ptr<function, Tile>) {
  for (var m = 0u; m < TM; m++) {
    for (var n = 0u; n < TN; n++) { (*into)[m][n] += (*tile)[m][n]; }
  }
}

fn activate(v: f32) -> f32 {
  if (ACTIVATION == 1u) { return select(v, 0.0, v < 0.0); } // max() may hide a NaN
  return v;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let tile = (group.y * groups.x + group.x) * WG + lane;
  let column_tiles = (p.columns + TN - 1u) / TN;
  let row = (tile / column_tiles) * TM;
  let column = (tile % column_tiles) * TN;
  if (row >= p.rows) { return; }
  var xi: array<u32, TM>; // first vec4 of each row; rows past the end repeat the last one and are not stored
  var wi: array<u32, TN>;
  for (var m = 0u; m < TM; m++) { xi[m] = min(row + m, p.rows - 1u) * p.k4; }
  for (var n = 0u; n < TN; n++) { wi[n] = min(column + n, p.columns - 1u) * p.k4; }
  var total = Tile();
  for (var outer = 0u; outer < p.k4; outer += GROUP) {
    var part = Tile();
    for (var start = outer; start < min(outer + GROUP, p.k4); start += BLOCK) {
      var sum = Tile();
      for (var k = start; k < min(start + BLOCK, p.k4); k++) {
        var a: array<vec4f, TM>;
        for (var m = 0u; m < TM; m++) { a[m] = x[xi[m] + k]; }
        for (var n = 0u; n < TN; n++) {
          let b = weights(wi[n] + k);
          for (var m = 0u; m < TM; m++) { sum[m][n] = mac(a[m], b, sum[m][n]); }
        }
      }
      accumulate(&part, &sum);
    }
    accumulate(&total, &part);
  }
  for (var m = 0u; m < TM; m++) {
    for (var n = 0u; n < TN; n++) {
      if (row + m < p.rows && column + n < p.columns) {
        let at = p.first + column + n;
        var v = total[m][n];
        if (p.has_bias != 0u) { v += bias[at]; }
        v = activate(v);
        if (p.has_residual != 0u) { v += residual[(row + m) * p.y_columns + at]; }
        y[(row + m) * p.y_columns + at] = v;
      }
    }
  }
}
