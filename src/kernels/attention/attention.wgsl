// context[r, h] = softmax(q[r, h] . k[j, h / group] * scale, over j in the row's range) @ v[j, h / group]
// torch.nn.functional.scaled_dot_product_attention, with one range of key rows per query row: a whole clip where
// attention is bidirectional, the rows up to and with its own where it is causal.
// One workgroup per head and TILE query rows that share the start of their range. Keys come in blocks of WG counted
// from that start; the softmax is rescaled when a block raises the maximum (so no score matrix is stored), and each
// block is summed apart before it joins. A row's order of sums depends on its own range alone.
override TILE: u32 = 4u;  // query rows per workgroup, 1 or 4
override WG: u32 = 32u;   // threads per workgroup, and keys per block
const MAX_TILE = 4u;
const MAX_HEAD4 = 128u;   // head_dim up to 512
const MAX_SLICES = 4u;    // MAX_HEAD4 / WG: vec4 of the head that one thread sums
struct Params { heads: u32, group: u32, head4: u32, tiles: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;        // [rows, heads, head4]
@group(0) @binding(2) var<storage, read> k: array<vec4f>;        // [key rows, heads / group, head4]
@group(0) @binding(3) var<storage, read> v: array<vec4f>;        // [key rows, heads / group, head4]
@group(0) @binding(4) var<storage, read> ranges: array<vec2u>;   // [rows] first key row, and one past the last
@group(0) @binding(5) var<storage, read> tiles: array<vec2u>;    // [tiles] first query row, and one past the last
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;  // [rows, heads, head4]
var<workgroup> query: array<vec4f, MAX_TILE * MAX_HEAD4>;
var<workgroup> scores: array<f32, MAX_TILE * WG>;
const LOWEST = -0x1.fffffep+127f;

// exp to 1.5e-7 relative: the built-in was measured at 4e-6 on lavapipe and SwiftShader, and gave infinity for NaN.
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

fn dot_key(m: u32, key: u32) -> f32 { // blocks of 16 products, then their sums, as in linear.wgsl
  var total = 0.0;
  for (var start = 0u; start < p.head4; start += 4u) {
    var sum = 0.0;
    for (var i = start; i < min(start + 4u, p.head4); i++) {
      let a = query[m * MAX_HEAD4 + i];
      let b = k[key + i];
      sum = fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
    }
    total += sum;
  }
  return total;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let id = wg.y * groups.x + wg.x;
  if (id >= p.tiles * p.heads) { return; }
  let head = id % p.heads;
  let tile = tiles[id / p.heads];
  let count = tile.y - tile.x;
  let kv_head = head / p.group;
  let kv_stride = (p.heads / p.group) * p.head4;
  let begin = ranges[tile.x].x;
  var end = begin;
  for (var m = 0u; m < TILE; m++) {
    if (m < count) {
      end = max(end, ranges[tile.x + m].y);
      for (var i = lane; i < p.head4; i += WG) {
        query[m * MAX_HEAD4 + i] = q[((tile.x + m) * p.heads + head) * p.head4 + i];
      }
    }
  }
  var largest: array<f32, MAX_TILE>;
  var sum: array<f32, MAX_TILE>;
  var context: array<array<vec4f, MAX_SLICES>, MAX_TILE>;
  for (var m = 0u; m < TILE; m++) { largest[m] = LOWEST; }
  workgroupBarrier();

  for (var start = begin; start < end; start += WG) {
    let key = start + lane;
    for (var m = 0u; m < TILE; m++) {
      var score = LOWEST;
      if (m < count) {
        if (key < ranges[tile.x + m].y) { score = dot_key(m, key * kv_stride + kv_head * p.head4) * p.scale; }
      }
      scores[m * WG + lane] = score;
    }
    workgroupBarrier();
    for (var m = 0u; m < TILE; m++) {
      if (m < count) {
        let keys = min(WG, max(ranges[tile.x + m].y, start) - start);
        var peak = largest[m];
        for (var j = 0u; j < keys; j++) { peak = max(peak, scores[m * WG + j]); }
        let shrink = accurate_exp(largest[m] - peak);
        largest[m] = peak;
        var part = 0.0;
        var slice = array<vec4f, MAX_SLICES>(); // Mesa 25.0.7 does not zero a bare declaration again in the next turn
        for (var j = 0u; j < keys; j++) {
          let weight = accurate_exp(scores[m * WG + j] - peak);
          part += weight;
          for (var s = 0u; s < MAX_SLICES; s++) {
            let i = lane + s * WG;
            if (i < p.head4) {
              slice[s] = fma(vec4f(weight), v[(start + j) * kv_stride + kv_head * p.head4 + i], slice[s]);
            }
          }
        }
        sum[m] = fma(sum[m], shrink, part);
        for (var s = 0u; s < MAX_SLICES; s++) { context[m][s] = fma(context[m][s], vec4f(shrink), slice[s]); }
      }
    }
    workgroupBarrier();
  }
  for (var m = 0u; m < TILE; m++) {
    if (m < count) {
      for (var s = 0u; s < MAX_SLICES; s++) {
        let i = lane + s * WG;
        if (i < p.head4) { y[((tile.x + m) * p.heads + head) * p.head4 + i] = context[m][s] / sum[m]; }
      }
    }
  }
}
