// y = (x - mean) / sqrt(var + eps) * gamma + beta, per row.      torch.nn.LayerNorm
// layer-norm.wgsl for devices whose subgroups have one known size SG, and rows of whole vec4: mean first, then sums over d = x - mean,
// and the mean of d, what rounding left of the first mean, is taken off as well. A workgroup is one subgroup; 8 lanes take a row (all
// lanes, where there are fewer): each sums its vec4 in order, four sums apart, and these are joined by twos over the lanes, alike in all of them.
enable subgroups;
const SG = 8u;               // @set lanes of a subgroup
const LANES = min(8u, SG);   // of a row
const HELD = 8u / LANES;     // of the 8 parts of a row, whatever the lanes: the order of its sums depends on its width alone
struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;        // [rows, width / 4]
@group(0) @binding(2) var<storage, read> gamma: array<vec4f>;    // [width / 4]
@group(0) @binding(3) var<storage, read> beta: array<vec4f>;     // [width / 4]
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;  // [rows, width / 4]

fn fold(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let row = (group.y * groups.x + group.x) * (SG / LANES) + lane / LANES;
  let own = lane % LANES;
  let width4 = select(0u, p.width / 4u, row < p.rows); // a row past the end has nothing
  let start = row * (p.width / 4u);
  let n = f32(p.width);
  var of_x = array<vec4f, HELD>();
  for (var i = own; i < width4; i += LANES) { of_x[(i / LANES) % HELD] += x[start + i]; }
  var mean: f32;
  for (var s = 0u; s < HELD; s++) {
    var part = fold(of_x[s]);
    for (var other = 1u; other < LANES; other *= 2u) { part += subgroupShuffleXor(part, other); }
    mean = select(mean + part, part, s == 0u);
  }
  mean /= n;
  var left = array<vec4f, HELD>();
  var squares = array<vec4f, HELD>();
  for (var i = own; i < width4; i += LANES) {
    let s = (i / LANES) % HELD;
    let d = x[start + i] - mean;
    left[s] += d;
    squares[s] = fma(d, d, squares[s]);
  }
  var sums: vec2f;
  for (var s = 0u; s < HELD; s++) {
    var part = vec2f(fold(left[s]), fold(squares[s]));
    for (var other = 1u; other < LANES; other *= 2u) { part += subgroupShuffleXor(part, other); }
    sums = select(sums + part, part, s == 0u);
  }
  sums /= n;
  let rest = sums.x;
  let scale = 1.0 / sqrt(sums.y - rest * rest + p.eps);
  for (var i = own; i < width4; i += LANES) {
    y[start + i] = fma(((x[start + i] - mean) - rest) * scale, gamma[i], beta[i]);
  }
}
