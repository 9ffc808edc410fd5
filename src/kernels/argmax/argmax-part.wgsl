// best[r, c] = (largest of x[r, c * part .. c * part + part - 1], its index); the lowest index where several are equal.
// argmax.wgsl for GPUs: a long row is shared by many workgroups, and argmax-join.wgsl takes the best of what they found.
// Neighbouring threads take neighbouring elements; then the WG winners meet by halves. The choice does not depend on the parts.
override WG: u32 = 256u; // threads of a workgroup, a power of two
struct Params { rows: u32, width: u32, part: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;            // [rows, width]
@group(0) @binding(2) var<storage, read_write> best: array<vec2u>; // [rows, parts] bits of the value, index
var<workgroup> winners: array<vec2u, WG>;
const NONE = 0xffffffffu; // no element was seen
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
  let id = group.y * groups.x + group.x;
  let row = id / p.parts;
  if (row >= p.rows) { return; }
  let start = (id % p.parts) * p.part;
  var found = vec2u(0u, NONE);
  for (var i = start + lane; i < min(start + p.part, p.width); i += WG) {
    let bits = bitcast<u32>(x[row * p.width + i]);
    found = better(found, vec2u(bits, select(i, IS_NAN, (bits & 0x7fffffffu) > 0x7f800000u)));
  }
  winners[lane] = found;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { winners[lane] = better(winners[lane], winners[lane + half]); }
  }
  if (lane == 0u) { best[id] = winners[0]; }
}
