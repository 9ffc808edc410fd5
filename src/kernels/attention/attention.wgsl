// context[r, h] = softmax(q[r, h] . k[j, h / group] * scale, over j in the row's range) @ v[j, h / group]
// torch.nn.functional.scaled_dot_product_attention, with one range of key rows per query row: a whole clip where
// attention is bidirectional, the rows up to and with its own where it is causal.
// One workgroup per head, up to 16 query rows that share the start of their range, and 128 columns of the head (a wider
// head computes its scores once per 128). Keys come in chunks of 128 counted from that start: first their scores in
// register tiles of 4 rows and 4 keys, then the softmax of each row, then the weighted values in register tiles of 8 rows and
// 4 columns. A chunk's sums join those before it when it is done, both scaled to the larger maximum, so no score matrix is
// stored. Within a chunk, runs of 32 keys are summed apart. A row's order of sums depends on its own range alone, and is
// that of attention-row.wgsl.
const WG = 32u;     // threads
const ROWS = 16u;   // query rows of a workgroup
const CHUNK = 128u; // keys whose weights share a maximum
const RUN = 32u;    // keys of a chunk that are summed in order before they join
const PAGE = 32u;   // @set key rows of a page, a multiple of RUN; 0: key rows lie as they are counted
const TILE = 4u;    // scores: rows and keys of a thread
const BLOCK = 4u;   // scores: vec4 summed in order before they join, as in linear.wgsl
const COLUMNS = 32u; // values: vec4 of the head that a workgroup makes
const TALL = 8u;    // values: rows of a thread
const WIDE = 16u;   // values: threads side by side, so a thread has COLUMNS / WIDE vec4 of each row
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
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;  // [rows, heads, head4]
@group(0) @binding(7) var<storage, read> pages: array<u32>;       // [pages of key rows] where each lies // @with PAGE
var<workgroup> scores: array<f32, ROWS * CHUNK>; // [row, key], then the exponentials
var<workgroup> scales: array<vec2f, ROWS>;       // what the sums so far and the chunk's are multiplied by
var<workgroup> total: array<f32, ROWS>;          // sum of the exponentials

alias Square = array<array<f32, TILE>, TILE>;

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
  let id = wg.y * groups.x + wg.x;
  if (id >= p.tiles * p.heads * p.slices) { return; }
  let slice = id % p.slices;
  let head = (id / p.slices) % p.heads;
  let tile = tiles[id / (p.slices * p.heads)];
  let count = tile.y - tile.x;
  let kv_stride = (p.heads / p.group) * p.head4;
  let kv_head = (head / p.group) * p.head4;
  let begin = ranges[tile.x].x;
  var end = begin;
  for (var m = 0u; m < count; m++) { end = max(end, ranges[tile.x + m].y); }

  // scores: this thread's rows and keys
  let row0 = (lane / (RUN / TILE)) * TILE;
  let key0 = (lane % (RUN / TILE)) * TILE;
  var qi: array<u32, TILE>; // rows past the end repeat the last one and are not stored
  for (var m = 0u; m < TILE; m++) { qi[m] = ((tile.x + min(row0 + m, count - 1u)) * p.heads + head) * p.head4; }
  // softmax: this thread's row
  let own_end = ranges[tile.x + min(lane, count - 1u)].y;
  var largest = LOWEST;
  var sum = 0.0;
  // values: this thread's rows and columns
  let tall0 = (lane / WIDE) * TALL;
  let column0 = slice * COLUMNS + lane % WIDE;
  var context = array<array<vec4f, COLUMNS / WIDE>, TALL>();

  for (var start = begin; start < end; start += CHUNK) {
    let seen = min(CHUNK, end - start);
    for (var run = 0u; run < seen; run += RUN) {
      var ki: array<u32, TILE>;
      let key_at = pool_row(start + run);
      let last = end - 1u - start - run;
      for (var n = 0u; n < TILE; n++) { ki[n] = (key_at + min(key0 + n, last)) * kv_stride + kv_head; }
      var dots = Square();
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var part = Square();
        for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
          var a: array<vec4f, TILE>;
          for (var m = 0u; m < TILE; m++) { a[m] = q[qi[m] + i]; }
          for (var n = 0u; n < TILE; n++) {
            let b = k[ki[n] + i];
            for (var m = 0u; m < TILE; m++) { part[m][n] = mac(a[m], b, part[m][n]); }
          }
        }
        for (var m = 0u; m < TILE; m++) {
          for (var n = 0u; n < TILE; n++) { dots[m][n] += part[m][n]; }
        }
      }
      for (var m = 0u; m < TILE; m++) {
        for (var n = 0u; n < TILE; n++) { scores[(row0 + m) * CHUNK + run + key0 + n] = dots[m][n] * p.scale; }
      }
    }
    workgroupBarrier();

    if (lane < ROWS) {
      let keys = min(CHUNK, max(own_end, start) - start);
      var peak = LOWEST;
      for (var j = 0u; j < keys; j++) { peak = max(peak, scores[lane * CHUNK + j]); }
      var chunk_sum = 0.0;
      for (var run = 0u; run < seen; run += RUN) {
        var part = 0.0;
        for (var j = run; j < run + RUN; j++) {
          var weight = 0.0;
          if (j < keys) { weight = accurate_exp(scores[lane * CHUNK + j] - peak); }
          scores[lane * CHUNK + j] = weight;
          part += weight;
        }
        chunk_sum += part;
      }
      let top = max(largest, peak);
      let shrink = accurate_exp(largest - top);
      let grow = accurate_exp(peak - top);
      sum = fma(sum, shrink, chunk_sum * grow);
      largest = top;
      scales[lane] = vec2f(shrink, grow);
      total[lane] = sum;
    }
    workgroupBarrier();

    for (var s = 0u; s < COLUMNS / WIDE; s++) {
      let i = kv_head + min(column0 + s * WIDE, p.head4 - 1u);
      var chunk = array<vec4f, TALL>();
      for (var run = 0u; run < seen; run += RUN) {
        var part = array<vec4f, TALL>();
        let value_at = pool_row(start + run);
        for (var j = run; j < min(run + RUN, seen); j++) {
          let value = v[(value_at + j - run) * kv_stride + i];
          for (var m = 0u; m < TALL; m++) { part[m] = fma(vec4f(scores[(tall0 + m) * CHUNK + j]), value, part[m]); }
        }
        for (var m = 0u; m < TALL; m++) { chunk[m] += part[m]; }
      }
      for (var m = 0u; m < TALL; m++) {
        let scale = scales[tall0 + m];
        context[m][s] = fma(context[m][s], vec4f(scale.x), chunk[m] * scale.y);
      }
    }
    workgroupBarrier();
  }
  for (var m = 0u; m < TALL; m++) {
    for (var s = 0u; s < COLUMNS / WIDE; s++) {
      let i = column0 + s * WIDE;
      if (tall0 + m < count && i < p.head4) {
        y[((tile.x + tall0 + m) * p.heads + head) * p.head4 + i] = context[m][s] / total[tall0 + m];
      }
    }
  }
}
