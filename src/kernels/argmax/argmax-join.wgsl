// y[r] = index of the best of best[r]; 0xffffffff where a part of the row holds a NaN.      torch.argmax
// One workgroup per row: each thread takes every WG-th pair that argmax-part.wgsl made, then the WG winners meet by halves.
override WG: u32 = 256u; // threads of a workgroup, a power of two
struct Params { rows: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> best: array<vec2u>;   // [rows, parts] bits of the value, index
@group(0) @binding(2) var<storage, read_write> y: array<u32>;  // [rows]
var<workgroup> winners: array<vec2u, WG>;
const NONE = 0xffffffffu; // from a part: no element was seen; from a row: it holds a NaN
const IS_NAN = 0xfffffffeu;

// Of two pairs of bits and index the better one.
fn better(a: vec2u, b: vec2u) -> vec2u {
  if (a.y == IS_NAN || b.y == NONE) { return a; }
  if (b.y == IS_NAN || a.y == NONE) { return b; }
  let va = bitcast<f32>(a.x);
  let vb = bitcast<f32>(b.x);
  if (vb > va || (vb == va && b.y < a.y)) { return b; }
  return a;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  var found = vec2u(0u, NONE);
  for (var i = lane; i < p.parts; i += WG) { found = better(found, best[row * p.parts + i]); }
  winners[lane] = found;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { winners[lane] = better(winners[lane], winners[lane + half]); }
  }
  if (lane == 0u) { y[row] = select(winners[0].y, NONE, winners[0].y == IS_NAN); }
}
