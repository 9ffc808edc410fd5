// context[r, h] = softmax(q[r, h] . k[j, h / group] * scale, over j in the row's range) @ v[j, h / group]
// attention.wgsl for tiles of one row, as in decoding: one workgroup per row and head. Keys come in blocks of 32, a thread
// a key for the scores, then a thread every 32nd vec4 of the head for the weighted values. Same order of sums, same bits.
const WG = 32u;        // threads, and keys of a block
const BLOCK = 4u;      // scores: vec4 summed in order before they join, as in linear.wgsl
const MAX_HEAD4 = 128u; // head_dim up to 512
const SLICES = MAX_HEAD4 / WG;
const LOWEST = -0x1.fffffep+127f;
struct Params { heads: u32, group: u32, head4: u32, tiles: u32, slices: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;        // [rows, heads, head4]
@group(0) @binding(2) var<storage, read> k: array<vec4f>;        // [key rows, heads / group, head4]
@group(0) @binding(3) var<storage, read> v: array<vec4f>;        // [key rows, heads / group, head4]
@group(0) @binding(4) var<storage, read> ranges: array<vec2u>;   // [rows] first key row, and one past the last
@group(0) @binding(5) var<storage, read> tiles: array<vec2u>;    // [tiles] query row, and one past it
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;  // [rows, heads, head4]
var<workgroup> query: array<vec4f, MAX_HEAD4>;
var<workgroup> scores: array<f32, WG>;

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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let id = wg.y * groups.x + wg.x;
  if (id >= p.tiles * p.heads) { return; }
  let head = id % p.heads;
  let row = tiles[id / p.heads].x;
  let at = (row * p.heads + head) * p.head4;
  let kv_stride = (p.heads / p.group) * p.head4;
  let kv_head = (head / p.group) * p.head4;
  let range = ranges[row];
  for (var i = lane; i < p.head4; i += WG) { query[i] = q[at + i]; }
  var largest = LOWEST;
  var sum = 0.0;
  var context = array<vec4f, SLICES>();
  workgroupBarrier();

  for (var start = range.x; start < range.y; start += WG) {
    let keys = min(WG, range.y - start);
    if (lane < keys) {
      let key = (start + lane) * kv_stride + kv_head;
      var dots = 0.0;
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var part = 0.0;
        for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
          let a = query[i];
          let b = k[key + i];
          part = fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, part))));
        }
        dots += part;
      }
      scores[lane] = dots * p.scale;
    }
    workgroupBarrier();
    var peak = largest;
    for (var j = 0u; j < keys; j++) { peak = max(peak, scores[j]); }
    let shrink = accurate_exp(largest - peak);
    largest = peak;
    var part = 0.0;
    var slice = array<vec4f, SLICES>(); // Mesa 25.0.7 does not zero a bare declaration again in the next turn
    for (var j = 0u; j < keys; j++) {
      let weight = accurate_exp(scores[j] - peak);
      part += weight;
      for (var s = 0u; s < SLICES; s++) {
        let i = lane + s * WG;
        if (i < p.head4) { slice[s] = fma(vec4f(weight), v[(start + j) * kv_stride + kv_head + i], slice[s]); }
      }
    }
    sum = fma(sum, shrink, part);
    for (var s = 0u; s < SLICES; s++) { context[s] = fma(context[s], vec4f(shrink), slice[s]); }
    workgroupBarrier();
  }
  for (var s = 0u; s < SLICES; s++) {
    let i = lane + s * WG;
    if (i < p.head4) { y[at + i] = context[s] / sum; }
  }
}
