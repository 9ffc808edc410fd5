// c = a @ w, per row.      torch.nn.functional.linear, gradients: dx = dy @ w, and dw = dy^T @ x
// linear-grad.wgsl for devices whose subgroups have one known size SG: a workgroup is one subgroup and makes TM rows by 4 * SG columns, a lane
// 4 neighbouring columns. The next 8 terms of the rows of a are read by the subgroup, one a lane (4 and 4, where there are 4), and
// each lane takes them from there. No workgroup memory, no barrier.
// Sum order of every element: 8 consecutive terms in order, such blocks in order up to 256 terms, then those groups in order,
// whatever SG is.
// A weight in several pieces of its rows adds piece after piece.
enable subgroups;
override WEIGHT: u32 = 0u; // storage of w: 0 f32, 1 bf16, 2 f16 (two to a u32, low half first), 3 q8, 4 q4
override ACCUMULATE: bool = false; // c += instead of c =
const SG = 8u;  // @set lanes of a subgroup
const TM = 16u; // rows of a tile
const BLOCK = 8u;
const GROUP = 256u;
alias Tile = array<vec4f, TM>;
struct Params {
  rows: u32,        // of c
  k4: u32,          // columns of c / 4
  terms: u32,       // rows of w, or of this piece of it
  first: u32,       // a's element that multiplies the piece's first row for c's first row
  row_stride: u32,  // from a's element for a row of c to that for the next
  term_stride: u32  // from a's element for a row of w to that for the next
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;         // [rows, terms] or [terms, rows], by the strides
@group(0) @binding(2) var<storage, read> w: array<vec2u>;       // [terms, k4] of 2 (f32), 1 (bf16, f16), 1/2 (q8); q4 [terms, k4 / 64] of 18
@group(0) @binding(3) var<storage, read> scales: array<u32>;    // [terms, k4 / 8] q8's f16, two to a u32; else any array
@group(0) @binding(4) var<storage, read_write> c: array<vec4f>; // [rows, k4]

fn word(i: u32) -> u32 { return w[i >> 1u][i & 1u]; }

// q4 is ggml's Q4_K: see linear.wgsl.
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

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let tile = group.y * groups.x + group.x;
  let column_tiles = (p.k4 + SG - 1u) / SG;
  let row = (tile / column_tiles) * TM;
  let column = (tile % column_tiles) * SG + lane; // in vec4
  if (row >= p.rows) { return; }
  var ai: array<u32, TM>; // rows and columns past the end repeat the last one and are not stored
  for (var m = 0u; m < TM; m++) { ai[m] = p.first + min(row + m, p.rows - 1u) * p.row_stride; }
  let wi = min(column, p.k4 - 1u);
  let term = lane % BLOCK;
  var total = Tile();
  for (var outer = 0u; outer < p.terms; outer += GROUP) {
    var part = Tile();
    for (var start = outer; start < min(outer + GROUP, p.terms); start += BLOCK) {
      let own = min(start + term, p.terms - 1u) * p.term_stride;
      var spread: array<f32, TM>;
      for (var m = 0u; m < TM; m++) { spread[m] = a[ai[m] + own]; }
      var sum = Tile();
      for (var j = 0u; j < min(BLOCK, p.terms - start); j++) {
        if (SG < BLOCK && j == SG) {
          let more = min(start + SG + lane, p.terms - 1u) * p.term_stride;
          for (var m = 0u; m < TM; m++) { spread[m] = a[ai[m] + more]; }
        }
        let v = weights((start + j) * p.k4 + wi);
        for (var m = 0u; m < TM; m++) { sum[m] = fma(vec4f(subgroupShuffle(spread[m], j % SG)), v, sum[m]); }
      }
      for (var m = 0u; m < TM; m++) { part[m] += sum[m]; }
    }
    for (var m = 0u; m < TM; m++) { total[m] += part[m]; }
  }
  if (column >= p.k4) { return; }
  for (var m = 0u; m < TM; m++) {
    if (row + m < p.rows) {
      let at = (row + m) * p.k4 + column;
      if (ACCUMULATE) { total[m] += c[at]; }
      c[at] = total[m];
    }
  }
}
