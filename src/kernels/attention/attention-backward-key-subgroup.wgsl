// dk[j] = sum of dS[r, j] * q[r], dv[j] = sum of P[r, j] * dy[r], over the rows r that see key j and the heads that share it.
// attention-backward-key.wgsl for devices whose subgroups have one known size SG. One workgroup, which is one subgroup, per key head
// and up to 16 keys of one clip; it alone adds to them. The rows of the clip from the first that sees one of the keys on,
// each head of the key head's group a row of its own, come in chunks. Dot products, by turns k . q and v . dy: a lane takes TN rows
// for all keys; a vec4 of each key is read once by the subgroup, spread over its lanes, and each lane takes it from there. Then a
// lane makes dS and P of its rows. Sums, first dk, then dv: a lane takes a vec4 of the head for all keys, dS or P is read and
// taken likewise. Each chunk is summed apart before it joins dk and dv. Turns of one loop, and stores in a loop that ends at
// `count` and is not unrolled: both products in one turn take lavapipe twice as long to compile and as long to run.
enable subgroups;
const SG = 8u;      // @set lanes of a subgroup
const TN = 2u;      // query rows of a lane
const KEYS = 16u;   // keys of a workgroup
const LOADS = (KEYS + SG - 1u) / SG; // keys that a lane reads
const CHUNK = 64u;  // query rows whose dS and P are kept
const RUN = 32u;    // query rows of a chunk that are summed in order before they join
const BLOCK = 4u;   // dot products: vec4 summed in order before they join, as in linear.wgsl
struct Params { rows: u32, heads: u32, group: u32, head4: u32, tiles: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;        // [rows, heads, head4]
@group(0) @binding(2) var<storage, read> q: array<vec4f>;         // [rows, heads, head4]
@group(0) @binding(3) var<storage, read> k: array<vec4f>;         // [rows, heads / group, head4]
@group(0) @binding(4) var<storage, read> v: array<vec4f>;         // [rows, heads / group, head4]
@group(0) @binding(5) var<storage, read> stats: array<vec4f>;     // [rows, heads + 1] as attention-backward-stats-subgroup.wgsl says
@group(0) @binding(6) var<storage, read> tiles: array<vec2u>;     // [tiles] first key, and one past the last
@group(0) @binding(7) var<storage, read_write> dk: array<vec4f>;  // [rows, heads / group, head4]
@group(0) @binding(8) var<storage, read_write> dv: array<vec4f>;  // [rows, heads / group, head4]
var<workgroup> factors: array<vec4f, 2u * CHUNK * KEYS / 4u>; // [2, query row, key] k . q and v . dy, then dS and P

alias Dots = array<array<f32, TN>, KEYS>;
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

fn exp4(x: vec4f) -> vec4f { return vec4f(accurate_exp(x.x), accurate_exp(x.y), accurate_exp(x.z), accurate_exp(x.w)); }

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
    for (var turn = 0u; turn < 2u * ((seen + SG * TN - 1u) / (SG * TN)); turn++) {
      let is_value = turn % 2u == 1u;
      let row0 = (turn / 2u) * (SG * TN);
      var qi: array<u32, TN>;
      for (var n = 0u; n < TN; n++) {
        let at = min(start + row0 + n * SG + lane, rows - 1u);
        qi[n] = ((first + at / p.group) * p.heads + head0 + at % p.group) * p.head4;
      }
      var dots = Dots();
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var part = Dots();
        for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
          var a: array<vec4f, LOADS>;
          var b: array<vec4f, TN>;
          if (is_value) {
            for (var l = 0u; l < LOADS; l++) { a[l] = v[ki[l] + i]; }
            for (var n = 0u; n < TN; n++) { b[n] = dy[qi[n] + i]; }
          } else {
            for (var l = 0u; l < LOADS; l++) { a[l] = k[ki[l] + i]; }
            for (var n = 0u; n < TN; n++) { b[n] = q[qi[n] + i]; }
          }
          for (var m = 0u; m < KEYS; m++) {
            let key = subgroupShuffle(a[m / SG], m % SG);
            for (var n = 0u; n < TN; n++) { part[m][n] = mac(key, b[n], part[m][n]); }
          }
        }
        for (var m = 0u; m < KEYS; m++) {
          for (var n = 0u; n < TN; n++) { dots[m][n] += part[m][n]; }
        }
      }
      let to = select(0u, CHUNK, is_value) + row0 + lane;
      for (var n = 0u; n < TN; n++) {
        if (row0 + n * SG + lane < CHUNK) {
          for (var m = 0u; m < KEYS / 4u; m++) {
            factors[(to + n * SG) * (KEYS / 4u) + m] =
              vec4f(dots[4u * m][n], dots[4u * m + 1u][n], dots[4u * m + 2u][n], dots[4u * m + 3u][n]);
          }
        }
      }
    }
    for (var i = lane; i < seen; i += SG) { // rows that this lane has stored
      let at = start + i;
      let row = first + at / p.group;
      let known = stats[row * (p.heads + 1u) + head0 + at % p.group];
      let seen_keys = max(range_of(row).y, tile.x) - tile.x;
      for (var m = 0u; 4u * m < count; m++) {
        let to = i * (KEYS / 4u) + m;
        let is_seen = 4u * m + vec4u(0u, 1u, 2u, 3u) < vec4u(seen_keys);
        let weight = select(vec4f(), exp4(factors[to] * p.scale - known.x) * known.y, is_seen);
        factors[to] = select(vec4f(), weight * (factors[CHUNK * (KEYS / 4u) + to] - known.z) * p.scale, is_seen);
        factors[CHUNK * (KEYS / 4u) + to] = weight;
      }
    }
    workgroupBarrier();

    let passes = (p.head4 + SG - 1u) / SG;
    for (var turn = 0u; turn < 2u * passes; turn++) {
      let is_value = turn >= passes;
      let column0 = (turn % passes) * SG;
      let column = min(column0 + lane, p.head4 - 1u);
      let factors0 = select(0u, CHUNK, is_value);
      var chunk = Sums();
      for (var run = 0u; run < seen; run += RUN) {
        var part = Sums();
        var head = (start + run) % p.group;
        var at = ((first + (start + run) / p.group) * p.heads + head0 + head) * p.head4 + column;
        for (var j = run; j < min(run + RUN, seen); j++) {
          var row: vec4f;
          if (is_value) { row = dy[at]; } else { row = q[at]; }
          var a: array<f32, LOADS>;
          for (var l = 0u; l < LOADS; l++) {
            let key = min(l * SG + lane, KEYS - 1u);
            a[l] = factors[(factors0 + j) * (KEYS / 4u) + key / 4u][key % 4u];
          }
          for (var m = 0u; m < KEYS; m++) { part[m] = fma(vec4f(subgroupShuffle(a[m / SG], m % SG)), row, part[m]); }
          let is_last = head + 1u == p.group; // then comes the next row's first head
          head = select(head + 1u, 0u, is_last);
          at += select(1u, p.heads - p.group + 1u, is_last) * p.head4;
        }
        for (var m = 0u; m < KEYS; m++) { chunk[m] += part[m]; }
      }
      for (var m = 0u; m < count; m++) {
        if (column0 + lane < p.head4) {
          let to = ((tile.x + m) * kv_heads + kv_head) * p.head4 + column;
          var sum = chunk[m];
          if (is_value) {
            if (start > 0u) { sum += dv[to]; }
            dv[to] = sum;
          } else {
            if (start > 0u) { sum += dk[to]; }
            dk[to] = sum;
          }
        }
      }
    }
    workgroupBarrier();
  }
}
