// context[r, h] = softmax(q[r, h] . k[j, h / group] * scale, over j in the row's range) @ v[j, h / group]
// attention.wgsl for tiles of one row, as in decoding. One workgroup per row, up to 2 query heads of one key head (each key
// and value is loaded once for both) and 128 columns of the head. It goes through the range in chunks of 128 keys, a thread 4 of
// them for the scores, then a thread a vec4 of the head for the weighted values. With SPLIT each chunk has a workgroup of
// its own and attention-join.wgsl joins them. Same order of sums either way and as in attention.wgsl, so the same bits.
override SPLIT: bool = false;
const WG = 32u;      // threads
const HEADS = 2u;    // query heads of a workgroup
const CHUNK = 128u;  // keys whose weights share a maximum
const RUN = 32u;     // keys of a chunk that are summed in order before they join
const PAGE = 32u;    // @set key rows of a page, a multiple of RUN; 0: key rows lie as they are counted
const KEYS = 4u;     // scores: keys of a thread
const BLOCK = 4u;    // scores: vec4 summed in order before they join, as in linear.wgsl
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
var<workgroup> tops: array<vec2f, WG>;       // largest score of each thread, a component a head
var<workgroup> weights: array<vec2f, CHUNK>; // exponentials, a component a head

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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let pairs = (p.group + HEADS - 1u) / HEADS;
  let kv_heads = p.heads / p.group;
  var id = wg.y * groups.x + wg.x;
  if (id >= p.tiles * kv_heads * pairs * p.slices * p.chunks) { return; }
  let chunk = id % p.chunks;
  id /= p.chunks;
  let column = (id % p.slices) * WG + lane;
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

  var largest = array<f32, HEADS>(LOWEST, LOWEST);
  var sum = array<f32, HEADS>();
  var context = array<vec4f, HEADS>();
  for (var start = first; start < last; start += CHUNK) {
    let keys = min(CHUNK, last - start);
    let key0 = lane * KEYS;
    var dots = array<vec2f, KEYS>();
    var top = vec2f(LOWEST);
    if (key0 < keys) {
      var ki: array<u32, KEYS>;
      let key_at = pool_row(start + key0); // KEYS lie in one page
      let end = last - 1u - start - key0;
      for (var n = 0u; n < KEYS; n++) { ki[n] = (key_at + min(n, end)) * kv_stride + kv_at; }
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var part = array<vec2f, KEYS>();
        for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
          let a = q[(at + head[0]) * p.head4 + i];
          let b = q[(at + head[1]) * p.head4 + i];
          for (var n = 0u; n < KEYS; n++) {
            let key = k[ki[n] + i];
            part[n] = vec2f(mac(a, key, part[n].x), mac(b, key, part[n].y));
          }
        }
        for (var n = 0u; n < KEYS; n++) { dots[n] += part[n]; }
      }
      for (var n = 0u; n < KEYS; n++) {
        dots[n] *= p.scale;
        if (key0 + n < keys) { top = max(top, dots[n]); }
      }
    }
    tops[lane] = top;
    workgroupBarrier();
    var peak = vec2f(LOWEST);
    for (var t = 0u; t < WG; t++) { peak = max(peak, tops[t]); }
    if (key0 < keys) {
      for (var n = 0u; n < KEYS; n++) {
        weights[key0 + n] = vec2f(accurate_exp(dots[n].x - peak.x), accurate_exp(dots[n].y - peak.y));
      }
    }
    workgroupBarrier();
    var chunk_sum = vec2f();
    var chunk_context = array<vec4f, HEADS>();
    for (var run = 0u; run < keys; run += RUN) {
      var part_sum = vec2f();
      var part = array<vec4f, HEADS>();
      let value_at = pool_row(start + run);
      for (var j = run; j < min(run + RUN, keys); j++) {
        let weight = weights[j];
        let value = v[(value_at + j - run) * kv_stride + kv_at + min(column, p.head4 - 1u)];
        part_sum += weight;
        for (var h = 0u; h < HEADS; h++) { part[h] = fma(vec4f(weight[h]), value, part[h]); }
      }
      chunk_sum += part_sum;
      for (var h = 0u; h < HEADS; h++) { chunk_context[h] += part[h]; }
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
        context[h] = fma(context[h], vec4f(shrink), chunk_context[h] * grow);
        largest[h] = top;
      }
    }
    workgroupBarrier();
  }
  for (var h = 0u; h < HEADS; h++) {
    if (SPLIT) {
      let to = ((at + head[h]) * p.chunks + chunk) * (p.head4 + 1u);
      if (column < p.head4) { y[to + column] = context[h]; }
      if (column == 0u) { y[to + p.head4] = vec4f(largest[h], sum[h], 0.0, 0.0); }
    } else if (column < p.head4) {
      y[(at + head[h]) * p.head4 + column] = context[h] / sum[h];
    }
  }
}
