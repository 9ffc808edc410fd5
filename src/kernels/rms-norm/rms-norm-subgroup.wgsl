// y = x / sqrt(mean(x^2) + eps) * gamma, per row.      Qwen3RMSNorm
// rms-norm.wgsl for devices whose subgroups have one known size SG, and rows of whole vec4. A workgroup is one subgroup; 8 lanes
// take a row (all lanes, where there are fewer), each a vec4 of the row's 32 strided parts at a time, and take the others' parts in
// order from their lanes. The same sums, the same bits.
enable subgroups;
const SG = 8u;               // @set lanes of a subgroup
const LANES = min(8u, SG);   // of a row
const HELD = 8u / LANES;     // vec4 of a lane among the 32 parts
struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;        // [rows, width / 4]
@group(0) @binding(2) var<storage, read> gamma: array<vec4f>;    // [width / 4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;  // [rows, width / 4]

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let row = (group.y * groups.x + group.x) * (SG / LANES) + lane / LANES;
  let own = lane % LANES;
  let width4 = select(0u, p.width / 4u, row < p.rows); // a row past the end has nothing
  let start = row * (p.width / 4u);
  var part = array<vec4f, HELD>();
  for (var s = 0u; s < HELD; s++) {
    for (var i = s * LANES + own; i < width4; i += 8u) { part[s] = fma(x[start + i], x[start + i], part[s]); }
  }
  var sum = 0.0;
  for (var t = 0u; t < 32u; t++) { sum += subgroupShuffle(part[t / 4u / LANES][t % 4u], lane - own + (t / 4u) % LANES); }
  let scale = 1.0 / sqrt(sum / f32(p.width) + p.eps);
  for (var i = own; i < width4; i += LANES) { y[start + i] = (x[start + i] * scale) * gamma[i]; }
}
