// stats[r, h] = (m, 1 / sum of exp(score - m), dy[r, h] . y[r, h], 0), m the largest score of the row's range of keys.
// attention-backward-stats.wgsl for devices whose subgroups have one known size SG. One workgroup, which is one subgroup, per head
// and up to 16 query rows. A lane takes TN keys for all rows, as in attention-subgroup.wgsl. Of each row, part i of 8 is its keys
// i, 8 + i, 16 + i, ... in pairs; a lane keeps the maximum and the sum of its parts, and these are joined at the end. With 8
// lanes a part is what a lane holds; with others the scores pass through workgroup memory.
enable subgroups;
const SG = 8u;     // @set lanes of a subgroup
const PARTS = 8u;  // of a row, whatever the lanes: the order of its sum depends on its keys alone
const TN = select(2u, 2u * PARTS / SG, SG < PARTS); // keys of a lane
const STEP = SG * TN; // keys of a step, whole pairs
const ROWS = 16u;  // query rows of a workgroup
const OWN = ROWS * PARTS / SG;        // parts of a lane
const LOADS = (ROWS + SG - 1u) / SG; // rows that a lane reads
const BLOCK = 4u;  // vec4 summed in order before they join, as in linear.wgsl
const LOWEST = -0x1.fffffep+127f;
struct Params { rows: u32, heads: u32, group: u32, head4: u32, tiles: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;           // [rows, heads, head4]
@group(0) @binding(2) var<storage, read> y: array<vec4f>;            // [rows, heads, head4]
@group(0) @binding(3) var<storage, read> q: array<vec4f>;            // [rows, heads, head4]
@group(0) @binding(4) var<storage, read> k: array<vec4f>;            // [rows, heads / group, head4]
@group(0) @binding(5) var<storage, read> ranges: array<vec2u>;       // [rows] first key row, and one past the last
@group(0) @binding(6) var<storage, read> tiles: array<vec2u>;        // [tiles] first row, and one past the last
@group(0) @binding(7) var<storage, read_write> stats: array<vec4f>;  // [rows, heads + 1]; last (range, one past the tile's last key, 0), exact in f32
const STRIDE = STEP + PARTS; // rows of a part's lanes lie in different banks
var<workgroup> scores: array<f32, select(ROWS * STRIDE, 1u, SG == PARTS)>; // [row, key of the step]
var<workgroup> parts: array<vec2f, ROWS * PARTS>; // [row, part] maximum, sum

alias Dots = array<array<f32, TN>, ROWS>;

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
  for (var l = 0u; l < LOADS; l++) {
    let row = tile.x + min(l * SG + lane, count - 1u);
    qi[l] = (row * p.heads + head) * p.head4;
    own_end[l] = ranges[row].y;
  }
  var largest: array<f32, OWN>;
  for (var r = 0u; r < OWN; r++) { largest[r] = LOWEST; }
  var sum = array<f32, OWN>();

  for (var start = begin; start < end; start += STEP) {
    var ki: array<u32, TN>;
    for (var n = 0u; n < TN; n++) { ki[n] = min(start + n * SG + lane, end - 1u) * kv_stride + kv_head; }
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
    for (var m = 0u; m < ROWS; m++) {
      for (var n = 0u; n < TN; n++) {
        dots[m][n] *= p.scale;
        if (SG != PARTS) { scores[m * STRIDE + n * SG + lane] = dots[m][n]; }
      }
    }
    if (SG != PARTS) { workgroupBarrier(); }
    for (var r = 0u; r < OWN; r++) {
      let m = select((r * SG + lane) / PARTS, r, SG == PARTS);
      let own_part = select((r * SG + lane) % PARTS, lane, SG == PARTS);
      let row_end = subgroupShuffle(own_end[m / SG], m % SG);
      for (var pair = 0u; pair < STEP; pair += 2u * PARTS) {
        var score: array<f32, 2>;
        var peak = largest[r];
        for (var n = 0u; n < 2u; n++) {
          let key = pair + n * PARTS + own_part;
          if (SG == PARTS) { score[n] = dots[r % ROWS][n]; } else { score[n] = scores[m * STRIDE + key]; }
          peak = select(peak, max(peak, score[n]), start + key < row_end);
        }
        var part = 0.0;
        for (var n = 0u; n < 2u; n++) {
          let key = pair + n * PARTS + own_part;
          part += select(0.0, accurate_exp(score[n] - peak), start + key < row_end);
        }
        sum[r] = fma(sum[r], accurate_exp(largest[r] - peak), part);
        largest[r] = peak;
      }
    }
    if (SG != PARTS) { workgroupBarrier(); }
  }

  for (var r = 0u; r < OWN; r++) { parts[r * SG + lane] = vec2f(largest[r], sum[r]); }
  workgroupBarrier();
  for (var m = lane; m < count; m += SG) {
    var peak = LOWEST;
    for (var i = 0u; i < PARTS; i++) { peak = max(peak, parts[m * PARTS + i].x); }
    var total = 0.0;
    for (var i = 0u; i < PARTS; i++) {
      let own = parts[m * PARTS + i];
      total = fma(own.y, accurate_exp(own.x - peak), total);
    }
    let row = tile.x + m;
    let at = (row * p.heads + head) * p.head4;
    var slope = 0.0;
    for (var outer = 0u; outer < p.head4; outer += BLOCK) {
      var part = 0.0;
      for (var i = outer; i < min(outer + BLOCK, p.head4); i++) { part = mac(dy[at + i], y[at + i], part); }
      slope += part;
    }
    let to = row * (p.heads + 1u);
    stats[to + head] = vec4f(peak, 1.0 / total, slope, 0.0);
    if (head == 0u) { stats[to + p.heads] = vec4f(vec2f(ranges[row]), f32(end), 0.0); }
  }
}
