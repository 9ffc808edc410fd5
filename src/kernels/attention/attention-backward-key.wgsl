// dk[j] = sum of dS[r, j] * q[r], dv[j] = sum of P[r, j] * dy[r], over the rows r that see key j and the heads that share it.
// torch.autograd of torch.nn.functional.scaled_dot_product_attention with respect to keys and values; P = exp(score - m) / sum
// and dS = P * (dy . v[j] - dy . y) * scale are formed again from the rows' stats.
// One workgroup per key head and up to 16 keys of one clip; it alone adds to them, block of rows by block, head by head. The
// clip's rows come in blocks of 32 (those that see none of the keys are passed over): both dot products in register tiles of
// 4 keys and 4 rows, then the weighted rows in register tiles of 4 keys and a vec4 of the head. Each block and head is summed
// apart before it joins dk and dv, of which every element belongs to one thread.
const WG = 32u;      // threads
const KEYS = 16u;    // keys of a workgroup
const ROWS = 32u;    // query rows of a block
const TILE = 4u;     // dot products: keys and rows of a thread
const WIDE = 8u;     // sums: threads side by side, a vec4 of the head each
const TALL = 4u;     // sums: keys of a thread
const BLOCK = 4u;    // dot products: vec4 summed in order before they join, as in linear.wgsl
struct Params { rows: u32, heads: u32, group: u32, head4: u32, tiles: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;        // [rows, heads, head4]
@group(0) @binding(2) var<storage, read> q: array<vec4f>;         // [rows, heads, head4]
@group(0) @binding(3) var<storage, read> k: array<vec4f>;         // [rows, heads / group, head4]
@group(0) @binding(4) var<storage, read> v: array<vec4f>;         // [rows, heads / group, head4]
@group(0) @binding(5) var<storage, read> stats: array<vec4f>;     // [rows, heads + 1] m, 1 / sum, dy . y, 0; last the row's range
@group(0) @binding(6) var<storage, read> tiles: array<vec2u>;     // [tiles] first key, and one past the last
@group(0) @binding(7) var<storage, read_write> dk: array<vec4f>;  // [rows, heads / group, head4]
@group(0) @binding(8) var<storage, read_write> dv: array<vec4f>;  // [rows, heads / group, head4]
var<workgroup> weights: array<f32, KEYS * ROWS>; // [key, row] P
var<workgroup> slopes: array<f32, KEYS * ROWS>;  // [key, row] dS

alias Square = array<array<vec2f, TILE>, TILE>; // k . q and v . dy

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

fn range_of(row: u32) -> vec3u { return vec3u(stats[row * (p.heads + 1u) + p.heads].xyz); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let id = wg.y * groups.x + wg.x;
  let kv_heads = p.heads / p.group;
  if (id >= p.tiles * kv_heads) { return; }
  let kv_head = id % kv_heads;
  let tile = tiles[id / kv_heads];
  let count = tile.y - tile.x;
  let begin = range_of(tile.x).x; // first row of the clip

  // dot products: this thread's keys and rows
  let key0 = (lane / (ROWS / TILE)) * TILE;
  let row0 = (lane % (ROWS / TILE)) * TILE;
  var ki: array<u32, TILE>; // keys past the end repeat the last one and are not stored
  for (var m = 0u; m < TILE; m++) { ki[m] = ((tile.x + min(key0 + m, count - 1u)) * kv_heads + kv_head) * p.head4; }
  let tall0 = (lane / WIDE) * TALL; // sums: this thread's keys
  var first = true;

  for (var start = begin; start < p.rows; start += ROWS) {
    var rows = 0u; // of the block, that belong to the clip
    var seen = 0u; // one past the last key that any of them sees
    for (var r = start; r < min(start + ROWS, p.rows); r++) {
      let range = range_of(r);
      if (range.x == begin) { rows++; seen = max(seen, range.y); }
    }
    if (rows == 0u) { break; }
    if (seen <= tile.x) { continue; }
    for (var head = kv_head * p.group; head < (kv_head + 1u) * p.group; head++) {
      var qi: array<u32, TILE>; // rows past the end repeat the last one and count as seeing nothing
      for (var n = 0u; n < TILE; n++) { qi[n] = ((start + min(row0 + n, rows - 1u)) * p.heads + head) * p.head4; }
      var dots = Square();
      for (var outer = 0u; outer < p.head4; outer += BLOCK) {
        var part = Square();
        for (var i = outer; i < min(outer + BLOCK, p.head4); i++) {
          var a: array<vec4f, TILE>;
          var c: array<vec4f, TILE>;
          for (var m = 0u; m < TILE; m++) { a[m] = k[ki[m] + i]; c[m] = v[ki[m] + i]; }
          for (var n = 0u; n < TILE; n++) {
            let b = q[qi[n] + i];
            let d = dy[qi[n] + i];
            for (var m = 0u; m < TILE; m++) { part[m][n] = mac2(a[m], b, c[m], d, part[m][n]); }
          }
        }
        for (var m = 0u; m < TILE; m++) {
          for (var n = 0u; n < TILE; n++) { dots[m][n] += part[m][n]; }
        }
      }
      for (var n = 0u; n < TILE; n++) {
        let row = start + min(row0 + n, rows - 1u);
        let known = stats[row * (p.heads + 1u) + head];
        let end = select(0u, range_of(row).y, row0 + n < rows);
        for (var m = 0u; m < TILE; m++) {
          var weight = 0.0;
          var slope = 0.0;
          if (tile.x + key0 + m < end) {
            weight = accurate_exp(dots[m][n].x * p.scale - known.x) * known.y;
            slope = weight * (dots[m][n].y - known.z) * p.scale;
          }
          weights[(key0 + m) * ROWS + row0 + n] = weight;
          slopes[(key0 + m) * ROWS + row0 + n] = slope;
        }
      }
      workgroupBarrier();

      for (var column = lane % WIDE; column < p.head4; column += WIDE) {
        var k_part = array<vec4f, TALL>();
        var v_part = array<vec4f, TALL>();
        for (var j = 0u; j < rows; j++) {
          let from_row = ((start + j) * p.heads + head) * p.head4 + column;
          let query = q[from_row];
          let gradient = dy[from_row];
          for (var m = 0u; m < TALL; m++) {
            k_part[m] = fma(vec4f(slopes[(tall0 + m) * ROWS + j]), query, k_part[m]);
            v_part[m] = fma(vec4f(weights[(tall0 + m) * ROWS + j]), gradient, v_part[m]);
          }
        }
        for (var m = 0u; m < TALL; m++) {
          if (tall0 + m < count) {
            let at = ((tile.x + tall0 + m) * kv_heads + kv_head) * p.head4 + column;
            if (!first) { k_part[m] += dk[at]; v_part[m] += dv[at]; }
            dk[at] = k_part[m];
            dv[at] = v_part[m];
          }
        }
      }
      first = false;
      workgroupBarrier();
    }
  }
}
