// a = a * b + c, over and over: the most multiplications and additions that this device does from registers.
// A thread keeps CHAINS sums that do not wait for each other. The factors come from memory, so that nothing is known before.
override WG: u32 = 64u; // threads per workgroup
const CHAINS = 12u;
struct Params { rounds: u32 } // of 8 terms for each sum
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> factors: array<f32>;   // [2]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;   // [threads]

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let b = factors[0];
  let c = factors[1];
  var a = array<f32, CHAINS>();
  for (var i = 0u; i < CHAINS; i++) { a[i] = f32(id.x + i); }
  for (var round = 0u; round < p.rounds; round++) {
    for (var j = 0u; j < 8u; j++) {
      for (var i = 0u; i < CHAINS; i++) { a[i] = fma(a[i], b, c); }
    }
  }
  var sum = 0.0;
  for (var i = 0u; i < CHAINS; i++) { sum += a[i]; }
  y[id.x] = sum;
}
