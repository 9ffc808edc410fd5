// context[r, h] = softmax(q[r, h] . k[j, h / group] * scale, over j in the row's range) @ v[j, h / group]
// attention-row.wgsl for devices whose subgroups have one known size SG: the same workgroups of one subgroup each. Scores: a lane
// takes a key at a time; the next 4 vec4 of both queries are read once by the subgroup, spread over its lanes, and each lane takes
// them from there. Values: the lanes take all vec4 of the head together, so that a key's are read as they lie in memory, and one
// lane reads its weights. Same order of sums, same bits.
enable subgroups;
override SPLIT: bool = false;
const SG = 8u;      // @set lanes of a subgroup
const HEADS = 2u;   // query heads of a workgroup
const SLICE = 32u;  // vec4 of the head that a workgroup makes
const COLUMNS = (SLICE + SG - 1u) / SG; // those of a lane
const CHUNK = 128u; // keys whose weights share a maximum
const RUN = 32u;    // keys of a chunk that are summed in order before they join
const PAGE = 32u;   // @set key rows of a page, a multiple of RUN; 0: key rows lie as they are counted
const BLOCK = 4u;   // scores: vec4 summed in order before they join, as in linear.wgsl
const LOADS = (HEADS * BLOCK + SG - 1u) / SG; // vec4 of the queries that a lane reads for a block
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
@group(0) @binding(5) var<storage, read> tiles: array<vec2u>;    // [rows] query row, and one past it
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;  // [rows, heads, head4]; SPLIT: [rows, heads, chunks, head4 + 1]
@group(0) @binding(7) var<storage, read> pages: array<u32>;       // [pages of key rows] where each lies // @with PAGE
var<workgroup> weights: array<vec2f, CHUNK>; // scores, then exponentials, a component a head

alias Values = array<vec4f, COLUMNS>;

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
  let pairs = (p.group + HEADS - 1u) / HEADS;
  let kv_heads = p.heads / p.group;
  var id = wg.y * groups.x + wg.x;
  if (id >= p.tiles * kv_heads * pairs * p.slices * p.chunks) { return; }
  let chunk = id % p.chunks;
  id /= p.chunks;
  let slice = (id % p.slices) * SLICE;
  id /= p.slices;
  let pair = id % pairs;
  let kv_head = (id / pairs) % kv_heads;
  let row = tiles[id / (pairs * kv_heads)].x;
  let range = ranges[row];
  let first = range.x + chunk * CHUNK;
  let last = select(range.y, min(first + CHUNK, range.y), SPLIT);
  if (first >= last) { return; }
  let kv_stride = kv_heads * p.head4;
  let kv_at = kv_head * p.head4;
  var head: array<u32, HEADS>; // an odd group's last workgroup has its only head twice
  for (var h = 0u; h < HEADS; h++) { head[h] = kv_head * p.group + min(pair * HEADS + h, p.group - 1u); }
  let at = row * p.heads;
  var qi: array<u32, LOADS>;
  for (var l = 0u; l < LOADS; l++) { qi[l] = (at + select(head[0], head[1], (l * SG + lane) / BLOCK % HEADS == 1u)) * p.head4; }
  var column: array<u32, COLUMNS>;
  for (var c = 0u; c < COLUMNS; c++) { column[c] = slice + c * SG + lane; }

  var largest = vec2f(LOWEST);
  var sum = vec2f();
  var context = array<Values, HEADS>();
  for (var start = first; start < last; start += CHUNK) {
    let keys = min(CHUNK, last - start);
    var peak = vec2f(LOWEST);
    for (var key0 = 0u; key0 < keys; key0 += SG) {
      let ki = pool_row(min(start + key0 + lane, last - 1u)) * kv_stride + kv_at;
      var dot = vec2f();
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var a: array<vec4f, LOADS>;
        for (var l = 0u; l < LOADS; l++) { a[l] = q[qi[l] + min(outer + (l * SG + lane) % BLOCK, p.head4 - 1u)]; }
        var part = vec2f();
        for (var i = 0u; i < BLOCK; i++) {
          if (outer + i < p.head4) {
            let key = k[ki + outer + i];
            let one = subgroupShuffle(a[i / SG], i % SG);
            let other = subgroupShuffle(a[(BLOCK + i) / SG], (BLOCK + i) % SG);
            part = vec2f(mac(one, key, part.x), mac(other, key, part.y));
          }
        }
        dot += part;
      }
      dot *= p.scale;
      if (key0 + lane < keys) {
        peak = max(peak, dot);
        weights[key0 + lane] = dot;
      }
    }
    for (var step = 1u; step < SG; step *= 2u) { peak = max(peak, subgroupShuffleXor(peak, step)); }
    for (var key = lane; key < keys; key += SG) {
      let score = weights[key];
      weights[key] = vec2f(accurate_exp(score.x - peak.x), accurate_exp(score.y - peak.y));
    }
    workgroupBarrier();
    var chunk_sum = vec2f();
    var chunk_context = array<Values, HEADS>();
    for (var run = 0u; run < keys; run += RUN) {
      var part_sum = vec2f();
      var part = array<Values, HEADS>();
      let value_at = pool_row(start + run);
      for (var j = run; j < min(run + RUN, keys); j++) {
        var weight = vec2f();
        if (lane == 0u) { weight = weights[j]; }
        weight = subgroupShuffle(weight, 0u);
        part_sum += weight;
        for (var c = 0u; c < COLUMNS; c++) {
          let value = v[(value_at + j - run) * kv_stride + kv_at + min(column[c], p.head4 - 1u)];
          for (var h = 0u; h < HEADS; h++) { part[h][c] = fma(vec4f(weight[h]), value, part[h][c]); }
        }
      }
      chunk_sum += part_sum;
      for (var h = 0u; h < HEADS; h++) {
        for (var c = 0u; c < COLUMNS; c++) { chunk_context[h][c] += part[h][c]; }
      }
    }
    for (var h = 0u; h < HEADS; h++) {
      if (SPLIT) {
        largest[h] = peak[h];
        sum[h] = chunk_sum[h];
        context[h] = chunk_context[h];
      } else {
        let top = max(largest[h], peak[h]);
        let shrink = accurate_exp(largest[h] - top);
        let grow = accurate_exp(peak[h] - top);
        sum[h] = fma(sum[h], shrink, chunk_sum[h] * grow);
        for (var c = 0u; c < COLUMNS; c++) { context[h][c] = fma(context[h][c], vec4f(shrink), chunk_context[h][c] * grow); }
        largest[h] = top;
      }
    }
    workgroupBarrier();
  }
  for (var h = 0u; h < HEADS; h++) {
    let to = select((at + head[h]) * p.head4, ((at + head[h]) * p.chunks + chunk) * (p.head4 + 1u), SPLIT);
    for (var c = 0u; c < COLUMNS; c++) {
      if (c * SG + lane < SLICE && column[c] < p.head4) {
        if (SPLIT) { y[to + column[c]] = context[h][c]; } else { y[to + column[c]] = context[h][c] / sum[h]; }
      }
    }
    if (SPLIT && slice + lane == 0u) { y[to + p.head4] = vec4f(largest[h], sum[h], 0.0, 0.0); }
  }
}
