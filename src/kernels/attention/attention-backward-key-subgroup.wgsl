// dk[j] = sum of dS[r, j] * q[r], dv[j] = sum of P[r, j] * dy[r], over the rows r that see key j and the heads that share it.
// attention-backward-key.wgsl for devices whose subgroups have one known size SG. One workgroup, which is one subgroup, per key head
// and up to 16 keys of one clip; it alone adds to them. The rows of the clip from the first that sees one of the keys on,
// each head of the key head's group a row of its own, come in chunks. Dot products: a lane takes TN rows for all keys; a vec4 of
// each key is read once by the subgroup, spread over its lanes, and each lane takes it from there. Sums: a lane takes a vec4
// of the head for all keys, the weights are read and taken likewise. Each chunk is summed apart before it joins dk and dv. The
// loop that stores ends at `count`, so that it is not unrolled: its stores would be most of the code.
enable subgroups;
const SG = 8u;      // @set lanes of a subgroup
const TN = 2u;      // query rows of a lane
const KEYS = 16u;   // keys of a workgroup
const LOADS = (KEYS + SG - 1u) / SG; // keys that a lane reads
const CHUNK = 64u;  // query rows whose weights are kept
const RUN = 32u;    // query rows of a chunk that are summed in order before they join
const BLOCK = 4u;   // dot products: vec4 summed in order before they join, as in linear.wgsl
struct Params { rows: u32, heads: u32, group: u32, head4: u32, tiles: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;        // [rows, heads, head4]
@group(0) @binding(2) var<storage, read> q: array<vec4f>;         // [rows, heads, head4]
@group(0) @binding(3) var<storage, read> k: array<vec4f>;         // [rows, heads / group, head4]
@group(0) @binding(4) var<storage, read> v: array<vec4f>;         // [rows, heads / group, head4]
@group(0) @binding(5) var<storage, read> stats: array<vec4f>;     // [rows, heads + 1] m, 1 / sum, dy . y, 0; last the range, one past the tile's last key, 0
@group(0) @binding(6) var<storage, read> tiles: array<vec2u>;     // [tiles] first key, and one past the last
@group(0) @binding(7) var<storage, read_write> dk: array<vec4f>;  // [rows, heads / group, head4]
@group(0) @binding(8) var<storage, read_write> dv: array<vec4f>;  // [rows, heads / group, head4]
var<workgroup> weights: array<vec4f, CHUNK * KEYS / 4u>; // [query row, key] P
var<workgroup> slopes: array<vec4f, CHUNK * KEYS / 4u>;  // [query row, key] dS

alias Dots = array<array<vec2f, TN>, KEYS>; // k . q and v . dy
alias Sums = array<vec4f, KEYS>;

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

fn range_of(row: u32) -> vec3u { return vec3u(stats[row * (p.heads + 1u) + p.heads].xyz); }

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let id = wg.y * groups.x + wg.x;
  let kv_heads = p.heads / p.group;
  if (id >= p.tiles * kv_heads) { return; }
  let kv_head = id % kv_heads;
  let tile = tiles[id / kv_heads];
  let count = tile.y - tile.x;
  let begin = range_of(tile.x).x; // first row of the clip
  var first = tile.x; // row of the clip's first tile that sees one of the keys
  for (var t = id / kv_heads; tiles[t].x > begin; ) {
    t--;
    if (range_of(tiles[t].x).z > tile.x) { first = tiles[t].x; }
  }
  var end = tile.y; // one past the clip's last row
  for (var t = id / kv_heads + 1u; t < p.tiles; t++) {
    if (range_of(tiles[t].x).x != begin) { break; }
    end = tiles[t].y;
  }
  let rows = (end - first) * p.group; // of one head each
  let head0 = kv_head * p.group;

  var ki: array<u32, LOADS>; // keys past the end repeat the last one and are not stored
  for (var l = 0u; l < LOADS; l++) {
    ki[l] = ((tile.x + min(l * SG + lane, count - 1u)) * kv_heads + kv_head) * p.head4;
  }
  for (var start = 0u; start < rows; start += CHUNK) {
    let seen = min(CHUNK, rows - start);
    for (var row0 = 0u; row0 < seen; row0 += SG * TN) {
      var qi: array<u32, TN>;
      var own_end: array<u32, TN>; // rows past the end see nothing
      var own: array<vec4f, TN>;
      for (var n = 0u; n < TN; n++) {
        let at = start + row0 + n * SG + lane;
        let row = first + min(at, rows - 1u) / p.group;
        let head = head0 + at % p.group;
        qi[n] = (row * p.heads + head) * p.head4;
        own[n] = stats[row * (p.heads + 1u) + head];
        own_end[n] = select(0u, range_of(row).y, at < rows);
      }
      var dots = Dots();
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var part = Dots();
        for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
          var a: array<vec4f, LOADS>;
          var c: array<vec4f, LOADS>;
          for (var l = 0u; l < LOADS; l++) { a[l] = k[ki[l] + i]; c[l] = v[ki[l] + i]; }
          var b: array<vec4f, TN>;
          var d: array<vec4f, TN>;
          for (var n = 0u; n < TN; n++) { b[n] = q[qi[n] + i]; d[n] = dy[qi[n] + i]; }
          for (var m = 0u; m < KEYS; m++) {
            let key = subgroupShuffle(a[m / SG], m % SG);
            let value = subgroupShuffle(c[m / SG], m % SG);
            for (var n = 0u; n < TN; n++) {
              part[m][n] = vec2f(mac(key, b[n], part[m][n].x), mac(value, d[n], part[m][n].y));
            }
          }
        }
        for (var m = 0u; m < KEYS; m++) {
          for (var n = 0u; n < TN; n++) { dots[m][n] += part[m][n]; }
        }
      }
      for (var m = 0u; m < KEYS; m++) {
        for (var n = 0u; n < TN; n++) {
          let weight = accurate_exp(dots[m][n].x * p.scale - own[n].x) * own[n].y;
          let slope = weight * (dots[m][n].y - own[n].z) * p.scale;
          dots[m][n] = select(vec2f(), vec2f(weight, slope), tile.x + m < own_end[n]);
        }
      }
      for (var n = 0u; n < TN; n++) {
        let row = row0 + n * SG + lane;
        if (row < CHUNK) {
          for (var m = 0u; m < KEYS / 4u; m++) {
            let at = row * (KEYS / 4u) + m;
            weights[at] = vec4f(dots[4u * m][n].x, dots[4u * m + 1u][n].x, dots[4u * m + 2u][n].x, dots[4u * m + 3u][n].x);
            slopes[at] = vec4f(dots[4u * m][n].y, dots[4u * m + 1u][n].y, dots[4u * m + 2u][n].y, dots[4u * m + 3u][n].y);
          }
        }
      }
    }
    workgroupBarrier();

    for (var column0 = 0u; column0 < p.head4; column0 += SG) {
      let column = min(column0 + lane, p.head4 - 1u);
      var k_chunk = Sums();
      var v_chunk = Sums();
      for (var run = 0u; run < seen; run += RUN) {
        var k_part = Sums();
        var v_part = Sums();
        for (var j = run; j < min(run + RUN, seen); j++) {
          let at = start + j;
          let from_row = ((first + at / p.group) * p.heads + head0 + at % p.group) * p.head4 + column;
          let query = q[from_row];
          let gradient = dy[from_row];
          var a: array<f32, LOADS>;
          var c: array<f32, LOADS>;
          for (var l = 0u; l < LOADS; l++) {
            let key = min(l * SG + lane, KEYS - 1u);
            a[l] = slopes[j * (KEYS / 4u) + key / 4u][key % 4u];
            c[l] = weights[j * (KEYS / 4u) + key / 4u][key % 4u];
          }
          for (var m = 0u; m < KEYS; m++) {
            k_part[m] = fma(vec4f(subgroupShuffle(a[m / SG], m % SG)), query, k_part[m]);
            v_part[m] = fma(vec4f(subgroupShuffle(c[m / SG], m % SG)), gradient, v_part[m]);
          }
        }
        for (var m = 0u; m < KEYS; m++) { k_chunk[m] += k_part[m]; v_chunk[m] += v_part[m]; }
      }
      for (var m = 0u; m < count; m++) {
        if (column0 + lane < p.head4) {
          let at = ((tile.x + m) * kv_heads + kv_head) * p.head4 + column;
          var k_sum = k_chunk[m];
          var v_sum = v_chunk[m];
          if (start > 0u) { k_sum += dk[at]; v_sum += dv[at]; }
          dk[at] = k_sum;
          dv[at] = v_sum;
        }
      }
    }
    workgroupBarrier();
  }
}
