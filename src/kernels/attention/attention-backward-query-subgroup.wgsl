// dq[r, h] = sum of dS[r, j] * k[j, h / group] over the keys j of row r's range, dS = P * (dy . v[j] - dy . y) * scale.
// attention-backward-query.wgsl for devices whose subgroups have one known size SG. One workgroup, which is one subgroup, per head
// and up to 16 query rows; keys come in chunks. Dot products: a lane takes TN keys for all rows; a vec4 of each row is read
// once by the subgroup, spread over its lanes, and each lane takes it from there. Sums: a lane takes a vec4 of the head for all
// rows, the slopes are read and taken likewise. Each chunk is summed apart before it joins dq. The loop that stores ends at
// `count`, so that it is not unrolled: its stores would be most of the code.
enable subgroups;
const SG = 8u;      // @set lanes of a subgroup
const TN = 2u;      // keys of a lane
const ROWS = 16u;   // query rows of a workgroup
const LOADS = (ROWS + SG - 1u) / SG; // rows that a lane reads
const CHUNK = 128u; // keys whose slopes are kept
const RUN = 32u;    // keys of a chunk that are summed in order before they join
const BLOCK = 4u;   // dot products: vec4 summed in order before they join, as in linear.wgsl
struct Params { rows: u32, heads: u32, group: u32, head4: u32, tiles: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;        // [rows, heads, head4]
@group(0) @binding(2) var<storage, read> q: array<vec4f>;         // [rows, heads, head4]
@group(0) @binding(3) var<storage, read> k: array<vec4f>;         // [rows, heads / group, head4]
@group(0) @binding(4) var<storage, read> v: array<vec4f>;         // [rows, heads / group, head4]
@group(0) @binding(5) var<storage, read> stats: array<vec4f>;     // [rows, heads + 1] m, 1 / sum, dy . y, 0
@group(0) @binding(6) var<storage, read> ranges: array<vec2u>;    // [rows] first key row, and one past the last
@group(0) @binding(7) var<storage, read> tiles: array<vec2u>;     // [tiles] first row, and one past the last
@group(0) @binding(8) var<storage, read_write> dq: array<vec4f>;  // [rows, heads, head4]
var<workgroup> slopes: array<vec4f, CHUNK * ROWS / 4u>; // [key, row] dS

alias Dots = array<array<vec2f, TN>, ROWS>; // q . k and dy . v
alias Sums = array<vec4f, ROWS>;

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
  var own_end: array<u32, LOADS>;
  var own: array<vec4f, LOADS>;
  for (var l = 0u; l < LOADS; l++) {
    let row = tile.x + min(l * SG + lane, count - 1u);
    qi[l] = (row * p.heads + head) * p.head4;
    own_end[l] = ranges[row].y;
    own[l] = stats[row * (p.heads + 1u) + head];
  }

  for (var start = begin; start < end; start += CHUNK) {
    let seen = min(CHUNK, end - start);
    for (var key0 = 0u; key0 < seen; key0 += SG * TN) {
      var ki: array<u32, TN>;
      for (var n = 0u; n < TN; n++) { ki[n] = min(start + key0 + n * SG + lane, end - 1u) * kv_stride + kv_head; }
      var dots = Dots();
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var part = Dots();
        for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
          var a: array<vec4f, LOADS>;
          var c: array<vec4f, LOADS>;
          for (var l = 0u; l < LOADS; l++) { a[l] = q[qi[l] + i]; c[l] = dy[qi[l] + i]; }
          var b: array<vec4f, TN>;
          var d: array<vec4f, TN>;
          for (var n = 0u; n < TN; n++) { b[n] = k[ki[n] + i]; d[n] = v[ki[n] + i]; }
          for (var m = 0u; m < ROWS; m++) {
            let query = subgroupShuffle(a[m / SG], m % SG);
            let gradient = subgroupShuffle(c[m / SG], m % SG);
            for (var n = 0u; n < TN; n++) {
              part[m][n] = vec2f(mac(query, b[n], part[m][n].x), mac(gradient, d[n], part[m][n].y));
            }
          }
        }
        for (var m = 0u; m < ROWS; m++) {
          for (var n = 0u; n < TN; n++) { dots[m][n] += part[m][n]; }
        }
      }
      var slope: array<array<f32, ROWS>, TN>;
      for (var m = 0u; m < ROWS; m++) {
        let known = subgroupShuffle(own[m / SG], m % SG);
        let row_end = subgroupShuffle(own_end[m / SG], m % SG);
        for (var n = 0u; n < TN; n++) {
          let weight = accurate_exp(dots[m][n].x * p.scale - known.x) * known.y;
          let seen_slope = weight * (dots[m][n].y - known.z) * p.scale;
          slope[n][m] = select(0.0, seen_slope, start + key0 + n * SG + lane < row_end);
        }
      }
      for (var n = 0u; n < TN; n++) {
        let key = key0 + n * SG + lane;
        if (key < CHUNK) {
          for (var m = 0u; m < ROWS / 4u; m++) {
            slopes[key * (ROWS / 4u) + m] =
              vec4f(slope[n][4u * m], slope[n][4u * m + 1u], slope[n][4u * m + 2u], slope[n][4u * m + 3u]);
          }
        }
      }
    }
    workgroupBarrier();

    for (var column0 = 0u; column0 < p.head4; column0 += SG) {
      let column = min(column0 + lane, p.head4 - 1u);
      var chunk = Sums();
      for (var run = 0u; run < seen; run += RUN) {
        var part = Sums();
        for (var j = run; j < min(run + RUN, seen); j++) {
          let key = k[(start + j) * kv_stride + kv_head + column];
          var a: array<f32, LOADS>;
          for (var l = 0u; l < LOADS; l++) {
            let row = min(l * SG + lane, ROWS - 1u);
            a[l] = slopes[j * (ROWS / 4u) + row / 4u][row % 4u];
          }
          for (var m = 0u; m < ROWS; m++) { part[m] = fma(vec4f(subgroupShuffle(a[m / SG], m % SG)), key, part[m]); }
        }
        for (var m = 0u; m < ROWS; m++) { chunk[m] += part[m]; }
      }
      for (var m = 0u; m < count; m++) {
        if (column0 + lane < p.head4) {
          let at = ((tile.x + m) * p.heads + head) * p.head4 + column;
          var sum = chunk[m];
          if (start > begin) { sum += dq[at]; }
          dq[at] = sum;
        }
      }
    }
    workgroupBarrier();
  }
}
