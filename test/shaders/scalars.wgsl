// y = (u, i, f) as bits.      Every type that a Params field can have, with an override.
override EXTRA: u32 = 0u; // added to u
struct Params {
  u: u32, // comments, like this: one, are no fields
  i: i32,
  f: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>; // [3]

@compute @workgroup_size(1)
fn main() {
  y[0] = p.u + EXTRA;
  y[1] = bitcast<u32>(p.i);
  y[2] = bitcast<u32>(p.f);
}
