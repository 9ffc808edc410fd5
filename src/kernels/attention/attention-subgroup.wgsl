// context[r, h] = softmax(q[r, h] . k[j, h / group] * scale, over j in the row's range) @ v[j, h / group]
// attention.wgsl for devices whose subgroups have one known size SG. One workgroup, which is one subgroup, per head and up to 16
// query rows that share the start of their range. Scores: a lane takes TN keys for all rows; a vec4 of each row is read once by
// the subgroup, spread over its lanes, and each lane takes it from there. Values: a lane takes a vec4 of the head for all
// rows, the weights are read and taken likewise. Same order of sums, same bits. Loops over the rows that are stored end at
// `count`, so that they are not unrolled: their stores are most of the code (lavapipe compiles it in 0.9 s, unrolled in 6 s).
enable subgroups;
const SG = 8u;      // @set lanes of a subgroup
const TN = 2u;      // @set keys of a lane
const ROWS = 16u;   // query rows of a workgroup
const LOADS = (ROWS + SG - 1u) / SG; // rows that a lane reads
const CHUNK = 128u; // keys whose weights share a maximum
const RUN = 32u;    // keys of a chunk that are summed in order before they join
const PAGE = 32u;   // @set key rows of a page, a multiple of RUN; 0: key rows lie as they are counted
const BLOCK = 4u;   // scores: vec4 summed in order before they join, as in linear.wgsl
const LOWEST = -0x1.fffffep+127f;
struct Params {
  heads: u32,
  group: u32,  // query heads of a key head
  head4: u32,
  tiles: u32,
  slices: u32, // of 128 columns of a head; 1 where a workgroup makes the whole head
  chunks: u32, // that a range may have; 1 but with SPLIT
  scale: f32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;        // [rows, heads, head4]
@group(0) @binding(2) var<storage, read> k: array<vec4f>;        // [key rows, heads / group, head4]
@group(0) @binding(3) var<storage, read> v: array<vec4f>;        // [key rows, heads / group, head4]
@group(0) @binding(4) var<storage, read> ranges: array<vec2u>;   // [rows] first key row, and one past the last
@group(0) @binding(5) var<storage, read> tiles: array<vec2u>;    // [tiles] first query row, and one past the last
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;  // [rows, heads, head4], between chunks not yet divided
@group(0) @binding(7) var<storage, read> pages: array<u32>;       // [pages of key rows] where each lies // @with PAGE
var<workgroup> scores: array<f32, ROWS * CHUNK>; // [row, key], then the exponentials
var<workgroup> scales: array<vec2f, ROWS>;       // what the sums so far and the chunk's are multiplied by
var<workgroup> total: array<f32, ROWS>;          // sum of the exponentials

alias Dots = array<array<f32, TN>, ROWS>;
alias Values = array<vec4f, ROWS>;

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

fn mac(a: vec4f, b: vec4f, sum: f32) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

// Row of k and v where a key row lies.
fn pool_row(row: u32) -> u32 {
  var at = row;
  at = pages[row / PAGE] * PAGE + row % PAGE; // @with PAGE
  return at;
}

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let id = wg.y * groups.x + wg.x;
  if (id >= p.tiles * p.heads) { return; }
  let head = id % p.heads;
  let tile = tiles[id / p.heads];
  let count = tile.y - tile.x;
  let kv_stride = (p.heads / p.group) * p.head4;
  let kv_head = (head / p.group) * p.head4;
  let begin = ranges[tile.x].x;
  var end = begin;
  for (var m = 0u; m < count; m++) { end = max(end, ranges[tile.x + m].y); }

  var qi: array<u32, LOADS>; // rows past the end repeat the last one and are not stored
  for (var l = 0u; l < LOADS; l++) {
    qi[l] = ((tile.x + min(l * SG + lane, count - 1u)) * p.heads + head) * p.head4;
  }
  // softmax: this lane's rows
  var own_end: array<u32, LOADS>;
  for (var l = 0u; l < LOADS; l++) { own_end[l] = ranges[tile.x + min(l * SG + lane, count - 1u)].y; }
  var largest = array<f32, LOADS>();
  for (var l = 0u; l < LOADS; l++) { largest[l] = LOWEST; }
  var sum = array<f32, LOADS>();

  for (var start = begin; start < end; start += CHUNK) {
    let seen = min(CHUNK, end - start);
    for (var key0 = 0u; key0 < seen; key0 += SG * TN) {
      var ki: array<u32, TN>;
      for (var n = 0u; n < TN; n++) { ki[n] = pool_row(min(start + key0 + n * SG + lane, end - 1u)) * kv_stride + kv_head; }
      var dots = Dots();
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var part = Dots();
        for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
          var a: array<vec4f, LOADS>;
          for (var l = 0u; l < LOADS; l++) { a[l] = q[qi[l] + i]; }
          var b: array<vec4f, TN>;
          for (var n = 0u; n < TN; n++) { b[n] = k[ki[n] + i]; }
          for (var m = 0u; m < ROWS; m++) {
            let row = subgroupShuffle(a[m / SG], m % SG);
            for (var n = 0u; n < TN; n++) { part[m][n] = mac(row, b[n], part[m][n]); }
          }
        }
        for (var m = 0u; m < ROWS; m++) {
          for (var n = 0u; n < TN; n++) { dots[m][n] += part[m][n]; }
        }
      }
      for (var m = 0u; m < count; m++) {
        for (var n = 0u; n < TN; n++) {
          let key = key0 + n * SG + lane;
          if (key < CHUNK) { scores[m * CHUNK + key] = dots[m][n] * p.scale; }
        }
      }
    }
    workgroupBarrier();

    for (var l = 0u; l < LOADS; l++) {
      let row = l * SG + lane;
      if (row < ROWS) {
        let keys = min(CHUNK, max(own_end[l], start) - start);
        var peak = LOWEST;
        for (var j = 0u; j < keys; j++) { peak = max(peak, scores[row * CHUNK + j]); }
        var chunk_sum = 0.0;
        for (var run = 0u; run < seen; run += RUN) {
          var part = 0.0;
          for (var j = run; j < min(run + RUN, seen); j++) {
            var weight = 0.0;
            if (j < keys) { weight = accurate_exp(scores[row * CHUNK + j] - peak); }
            scores[row * CHUNK + j] = weight;
            part += weight;
          }
          chunk_sum += part;
        }
        let top = max(largest[l], peak);
        let shrink = accurate_exp(largest[l] - top);
        let grow = accurate_exp(peak - top);
        sum[l] = fma(sum[l], shrink, chunk_sum * grow);
        largest[l] = top;
        scales[row] = vec2f(shrink, grow);
        total[row] = sum[l];
      }
    }
    workgroupBarrier();

    for (var column0 = 0u; column0 < p.head4; column0 += SG) {
      let column = min(column0 + lane, p.head4 - 1u);
      var chunk = Values();
      for (var run = 0u; run < seen; run += RUN) {
        var part = Values();
        let value_at = pool_row(start + run);
        for (var j = run; j < min(run + RUN, seen); j++) {
          let value = v[(value_at + j - run) * kv_stride + kv_head + column];
          var a: array<f32, LOADS>;
          for (var l = 0u; l < LOADS; l++) { a[l] = scores[min(l * SG + lane, ROWS - 1u) * CHUNK + j]; }
          for (var m = 0u; m < ROWS; m++) {
            part[m] = fma(vec4f(subgroupShuffle(a[m / SG], m % SG)), value, part[m]);
          }
        }
        for (var m = 0u; m < ROWS; m++) { chunk[m] += part[m]; }
      }
      for (var m = 0u; m < count; m++) {
        if (column0 + lane < p.head4) {
          let at = ((tile.x + m) * p.heads + head) * p.head4 + column;
          var before = vec4f();
          if (start > begin) { before = y[at]; }
          var context = fma(before, vec4f(scales[m].x), chunk[m] * scales[m].y);
          if (start + CHUNK >= end) { context /= total[m]; }
          y[at] = context;
        }
      }
    }
    workgroupBarrier();
  }
}
