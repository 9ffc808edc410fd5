// y = sum of 16 sums s[j] after 4 * rounds times s[j] = s[j] * b + c, s[j] = index + j at first, per element.      torch.addcmul, repeated
// The most multiplications and additions that this device does from registers: a thread's 16 sums do not wait for each other. The
// factors come from memory, so that nothing is known before.
override WG: u32 = 64u; // threads per workgroup
struct Params { rounds: u32, count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> factors: array<f32>;   // [2]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;   // [count]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.count) { return; }
  let b = factors[0];
  let c = factors[1];
  var s0 = vec4f(f32(i)) + vec4f(0.0, 1.0, 2.0, 3.0);
  var s1 = s0 + 4.0;
  var s2 = s0 + 8.0;
  var s3 = s0 + 12.0;
  for (var round = 0u; round < p.rounds; round++) {
    s0 = s0 * b + c; s1 = s1 * b + c; s2 = s2 * b + c; s3 = s3 * b + c;
    s0 = s0 * b + c; s1 = s1 * b + c; s2 = s2 * b + c; s3 = s3 * b + c;
    s0 = s0 * b + c; s1 = s1 * b + c; s2 = s2 * b + c; s3 = s3 * b + c;
    s0 = s0 * b + c; s1 = s1 * b + c; s2 = s2 * b + c; s3 = s3 * b + c;
  }
  y[i] = dot(s0 + s1 + s2 + s3, vec4f(1.0));
}
