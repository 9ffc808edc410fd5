// y = act(x @ w^T + bias) + residual, per row.      torch.nn.functional.linear, then ReLU
// linear-subgroup.wgsl for f32 weights, of which a dispatch sees a window of 64 KB through a uniform binding: lavapipe reads that in a
// third of the time of a storage array. The same tiles and the same sum order: a block of 8 terms, its even ones in order, its odd
// ones in order, then both; 32 blocks in order make a group of 256; then the groups in order.
enable subgroups;
override ACTIVATION: u32 = 0u; // 0 none, 1 ReLU
const SG = 8u;  // @set lanes of a subgroup
const TM = 16u; // rows of a tile
const TN = 4u;  // columns of a lane
const LOADS = (2u * TM + SG - 1u) / SG; // vec4 of x that a lane reads for 8 terms
const GROUP = 64u;                      // vec4 in a group of 256
alias Tile = array<vec4f, TM>;          // a row's columns
struct Params {
  rows: u32,      // M
  k4: u32,        // K / 4
  columns: u32,   // rows of w that the dispatch multiplies by
  first: u32,     // column of y that the first of them makes
  y_columns: u32, // N
  start: u32,     // vec4 of the window before them
  has_bias: u32,
  has_residual: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;      // [rows, K / 4]
@group(0) @binding(2) var<uniform> w: array<vec4f, 4096>;      // [columns, K / 4] from `start` on
@group(0) @binding(3) var<storage, read> bias: array<f32>;     // [y_columns], any array if has_bias is 0
@group(0) @binding(4) var<storage, read> residual: array<f32>; // [rows, y_columns], any array if has_residual is 0
@group(0) @binding(5) var<storage, read_write> y: array<f32>;  // [rows, y_columns]

fn activate(v: f32) -> f32 {
  if (ACTIVATION == 1u) { return select(v, 0.0, v < 0.0); } // max() may hide a NaN
  return v;
}

// Eight terms of a product.
fn eight_terms(a: vec4f, b: vec4f, va: vec4f, vb: vec4f) -> f32 {
  let even = fma(b.z, vb.z, fma(b.x, vb.x, fma(a.z, va.z, a.x * va.x)));
  return even + fma(b.w, vb.w, fma(b.y, vb.y, fma(a.w, va.w, a.y * va.y)));
}

// Eight terms of a row times those of the lane's columns.
fn four_columns(a: vec4f, b: vec4f, va: array<vec4f, TN>, vb: array<vec4f, TN>) -> vec4f {
  return vec4f(eight_terms(a, b, va[0], vb[0]), eight_terms(a, b, va[1], vb[1]),
               eight_terms(a, b, va[2], vb[2]), eight_terms(a, b, va[3], vb[3]));
}

// One of the vec4 that the lanes have read.
fn spread(a: array<vec4f, LOADS>, i: u32) -> vec4f { return subgroupShuffle(a[i / SG], i % SG); }

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let tile = group.y * groups.x + group.x;
  let column_tiles = (p.columns + TN * SG - 1u) / (TN * SG);
  let row = (tile / column_tiles) * TM;
  let column = (tile % column_tiles) * (TN * SG) + lane;
  if (row >= p.rows) { return; }
  var xi: array<u32, LOADS>; // rows and columns past the end repeat the last one and are not stored
  var wi: array<u32, TN>;
  for (var i = 0u; i < LOADS; i++) {
    let place = i * SG + lane;
    xi[i] = min(row + place / 2u, p.rows - 1u) * p.k4 + place % 2u;
  }
  for (var n = 0u; n < TN; n++) { wi[n] = p.start + min(column + n * SG, p.columns - 1u) * p.k4; }
  var total = Tile();
  for (var begin = 0u; begin < p.k4; begin += GROUP) {
    var part = Tile();
    for (var k = begin; k < min(begin + GROUP, p.k4); k += 2u) {
      var a: array<vec4f, LOADS>;
      var va: array<vec4f, TN>;
      var vb: array<vec4f, TN>;
      for (var i = 0u; i < LOADS; i++) { a[i] = x[xi[i] + k]; }
      for (var n = 0u; n < TN; n++) {
        va[n] = w[wi[n] + k];
        vb[n] = w[wi[n] + k + 1u];
      }
      // Written out: as a loop lavapipe keeps the tile in memory, which halves the speed.
      part[0] += four_columns(spread(a, 0u), spread(a, 1u), va, vb);
      part[1] += four_columns(spread(a, 2u), spread(a, 3u), va, vb);
      part[2] += four_columns(spread(a, 4u), spread(a, 5u), va, vb);
      part[3] += four_columns(spread(a, 6u), spread(a, 7u), va, vb);
      part[4] += four_columns(spread(a, 8u), spread(a, 9u), va, vb);
      part[5] += four_columns(spread(a, 10u), spread(a, 11u), va, vb);
      part[6] += four_columns(spread(a, 12u), spread(a, 13u), va, vb);
      part[7] += four_columns(spread(a, 14u), spread(a, 15u), va, vb);
      part[8] += four_columns(spread(a, 16u), spread(a, 17u), va, vb);
      part[9] += four_columns(spread(a, 18u), spread(a, 19u), va, vb);
      part[10] += four_columns(spread(a, 20u), spread(a, 21u), va, vb);
      part[11] += four_columns(spread(a, 22u), spread(a, 23u), va, vb);
      part[12] += four_columns(spread(a, 24u), spread(a, 25u), va, vb);
      part[13] += four_columns(spread(a, 26u), spread(a, 27u), va, vb);
      part[14] += four_columns(spread(a, 28u), spread(a, 29u), va, vb);
      part[15] += four_columns(spread(a, 30u), spread(a, 31u), va, vb);
    }
    for (var m = 0u; m < TM; m++) { total[m] += part[m]; }
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
