// dq[r, h] = sum of dS[r, j] * k[j, h / group] over the keys j of row r's range, dS = P * (dy . v[j] - dy . y) * scale.
// torch.autograd of torch.nn.functional.scaled_dot_product_attention with respect to the queries; P = exp(score - m) / sum is
// formed again from the row's stats, so that no matrix of all rows and keys is stored.
// One workgroup per head and up to 16 query rows that share the start of their range. Keys come in blocks of 32: both dot
// products in register tiles of 4 rows and 4 keys, then the weighted keys in register tiles of 4 rows and a vec4 of the head.
// Each block is summed apart before it joins dq, of which every element belongs to one thread. (Sums kept in registers to the
// end would be 16 vec4 a thread for heads of 128: 4 times the time to compile on lavapipe.)
const WG = 32u;      // threads
const ROWS = 16u;    // query rows of a workgroup
const KEYS = 32u;    // keys of a block
const TILE = 4u;     // dot products: rows and keys of a thread
const WIDE = 8u;     // sums: threads side by side, a vec4 of the head each
const TALL = 4u;     // sums: rows of a thread
const BLOCK = 4u;    // dot products: vec4 summed in order before they join, as in linear.wgsl
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
var<workgroup> slopes: array<f32, ROWS * KEYS>; // [row, key] dS

alias Square = array<array<vec2f, TILE>, TILE>; // q . k and dy . v

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

fn mac2(a: vec4f, b: vec4f, c: vec4f, d: vec4f, sum: vec2f) -> vec2f { return vec2f(mac(a, b, sum.x), mac(c, d, sum.y)); }

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

  // dot products: this thread's rows and keys
  let row0 = (lane / (KEYS / TILE)) * TILE;
  let key0 = (lane % (KEYS / TILE)) * TILE;
  var qi: array<u32, TILE>; // rows past the end repeat the last one and are not stored
  var ends: array<u32, TILE>;
  var known: array<vec4f, TILE>;
  for (var m = 0u; m < TILE; m++) {
    let row = tile.x + min(row0 + m, count - 1u);
    qi[m] = (row * p.heads + head) * p.head4;
    ends[m] = ranges[row].y;
    known[m] = stats[row * (p.heads + 1u) + head];
  }
  let tall0 = (lane / WIDE) * TALL; // sums: this thread's rows

  for (var start = begin; start < end; start += KEYS) {
    var ki: array<u32, TILE>;
    for (var n = 0u; n < TILE; n++) { ki[n] = min(start + key0 + n, end - 1u) * kv_stride + kv_head; }
    var dots = Square();
    for (var outer = 0u; outer < p.head4; outer += BLOCK) {
      var part = Square();
      for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
        var a: array<vec4f, TILE>;
        var c: array<vec4f, TILE>;
        for (var m = 0u; m < TILE; m++) { a[m] = q[qi[m] + i]; c[m] = dy[qi[m] + i]; }
        for (var n = 0u; n < TILE; n++) {
          let b = k[ki[n] + i];
          let d = v[ki[n] + i];
          for (var m = 0u; m < TILE; m++) { part[m][n] = mac2(a[m], b, c[m], d, part[m][n]); }
        }
      }
      for (var m = 0u; m < TILE; m++) {
        for (var n = 0u; n < TILE; n++) { dots[m][n] += part[m][n]; }
      }
    }
    for (var m = 0u; m < TILE; m++) {
      for (var n = 0u; n < TILE; n++) {
        var slope = 0.0;
        if (start + key0 + n < ends[m]) {
          let weight = accurate_exp(dots[m][n].x * p.scale - known[m].x) * known[m].y;
          slope = weight * (dots[m][n].y - known[m].z) * p.scale;
        }
        slopes[(row0 + m) * KEYS + key0 + n] = slope;
      }
    }
    workgroupBarrier();

    for (var column = lane % WIDE; column < p.head4; column += WIDE) {
      var part = array<vec4f, TALL>();
      for (var j = 0u; j < min(KEYS, end - start); j++) {
        let value = k[(start + j) * kv_stride + kv_head + column];
        for (var m = 0u; m < TALL; m++) { part[m] = fma(vec4f(slopes[(tall0 + m) * KEYS + j]), value, part[m]); }
      }
      for (var m = 0u; m < TALL; m++) {
        if (tall0 + m < count) {
          let at = ((tile.x + tall0 + m) * p.heads + head) * p.head4 + column;
          if (start > begin) { part[m] += dq[at]; }
          dq[at] = part[m];
        }
      }
    }
    workgroupBarrier();
  }
}
