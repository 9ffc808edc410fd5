// stats[r, h] = (m, 1 / sum of exp(score - m), dy[r, h] . y[r, h], 0), m the largest score of the row's range of keys.
// What the gradients of torch.nn.functional.scaled_dot_product_attention need of each row to form its probabilities again;
// after a row's heads follows its range, so that attention-backward-key.wgsl gets along with 8 storage bindings.
// One workgroup per head and up to 16 query rows that share the start of their range. Keys come in blocks of 32, the scores
// in register tiles of 4 rows and 4 keys; a thread keeps the maximum and the sum of its own keys of each row, and these are
// joined at the end.
const WG = 32u;    // threads
const ROWS = 16u;  // query rows of a workgroup
const KEYS = 32u;  // keys of a block
const TILE = 4u;   // rows and keys of a thread
const ACROSS = KEYS / TILE; // threads of a row
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
@group(0) @binding(7) var<storage, read_write> stats: array<vec4f>;  // [rows, heads + 1]; last (first key row, one past the last, 0, 0), exact in f32
var<workgroup> parts: array<vec2f, ROWS * ACROSS>; // [row, thread] maximum, sum

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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
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
  let row0 = (lane / ACROSS) * TILE;
  let key0 = (lane % ACROSS) * TILE;
  var qi: array<u32, TILE>; // rows past the end repeat the last one and are not stored
  var ends: array<u32, TILE>;
  var largest = array<f32, TILE>(LOWEST, LOWEST, LOWEST, LOWEST);
  var sum = array<f32, TILE>();
  for (var m = 0u; m < TILE; m++) {
    let row = tile.x + min(row0 + m, count - 1u);
    qi[m] = (row * p.heads + head) * p.head4;
    ends[m] = ranges[row].y;
  }

  for (var start = begin; start < end; start += KEYS) {
    var ki: array<u32, TILE>;
    for (var n = 0u; n < TILE; n++) { ki[n] = min(start + key0 + n, end - 1u) * kv_stride + kv_head; }
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
      var peak = largest[m];
      for (var n = 0u; n < TILE; n++) {
        dots[m][n] *= p.scale;
        if (start + key0 + n < ends[m]) { peak = max(peak, dots[m][n]); }
      }
      var part = 0.0;
      for (var n = 0u; n < TILE; n++) {
        if (start + key0 + n < ends[m]) { part += accurate_exp(dots[m][n] - peak); }
      }
      sum[m] = fma(sum[m], accurate_exp(largest[m] - peak), part);
      largest[m] = peak;
    }
  }

  for (var m = 0u; m < TILE; m++) { parts[(row0 + m) * ACROSS + lane % ACROSS] = vec2f(largest[m], sum[m]); }
  workgroupBarrier();
  if (lane < count) {
    var peak = LOWEST;
    for (var i = 0u; i < ACROSS; i++) { peak = max(peak, parts[lane * ACROSS + i].x); }
    var total = 0.0;
    for (var i = 0u; i < ACROSS; i++) {
      let own = parts[lane * ACROSS + i];
      total = fma(own.y, accurate_exp(own.x - peak), total);
    }
    let row = tile.x + lane;
    let at = (row * p.heads + head) * p.head4;
    var slope = 0.0;
    for (var outer = 0u; outer < p.head4; outer += BLOCK) {
      var part = 0.0;
      for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
        part = mac(dy[at + i], y[at + i], part);
      }
      slope += part;
    }
    let to = row * (p.heads + 1u);
    stats[to + head] = vec4f(peak, 1.0 / total, slope, 0.0);
    if (head == 0u) { stats[to + p.heads] = vec4f(vec2f(ranges[row]), 0.0, 0.0); }
  }
}
