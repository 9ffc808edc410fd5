// dx = (a - mean(a) - n * mean(a * n)) * s + earlier, a = dy * gamma, n = (x - mean) * s, s = 1 / sqrt(var + eps), per row.
// torch.autograd of torch.nn.LayerNorm. layer-norm-backward.wgsl for devices whose subgroups have one known size SG, and rows of whole
// vec4, with the lanes and sums of layer-norm-subgroup.wgsl. Mean, rest and s are kept for the gradient of gamma (column-sum-normed.wgsl).
enable subgroups;
const SG = 8u;               // @set lanes of a subgroup
const LANES = min(8u, SG);   // of a row
const HELD = 8u / LANES;     // of the 8 parts of a row, whatever the lanes: the order of its sums depends on its width alone
struct Params { rows: u32, width: u32, has_earlier: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;           // [rows, width / 4]
@group(0) @binding(2) var<storage, read> x: array<vec4f>;            // [rows, width / 4]
@group(0) @binding(3) var<storage, read> gamma: array<vec4f>;        // [width / 4]
@group(0) @binding(4) var<storage, read> earlier: array<vec4f>;      // [rows, width / 4] another gradient of x; any array if has_earlier is 0
@group(0) @binding(5) var<storage, read_write> dx: array<vec4f>;     // [rows, width / 4]
@group(0) @binding(6) var<storage, read_write> stats: array<vec4f>;  // [rows] mean, rest, s, 0

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
  var of_a = array<vec4f, HELD>();
  for (var i = own; i < width4; i += LANES) {
    let s = (i / LANES) % HELD;
    of_x[s] += x[start + i];
    of_a[s] += dy[start + i] * gamma[i];
  }
  var means: vec2f; // of x and of a
  for (var s = 0u; s < HELD; s++) {
    var part = vec2f(fold(of_x[s]), fold(of_a[s]));
    for (var other = 1u; other < LANES; other *= 2u) { part += subgroupShuffleXor(part, other); }
    means = select(means + part, part, s == 0u);
  }
  means /= n;
  var of_d = array<vec4f, HELD>();
  var of_dd = array<vec4f, HELD>();
  var of_e = array<vec4f, HELD>();
  var of_ed = array<vec4f, HELD>();
  for (var i = own; i < width4; i += LANES) {
    let s = (i / LANES) % HELD;
    let d = x[start + i] - means.x;
    let e = fma(dy[start + i], gamma[i], vec4f(-means.y));
    of_d[s] += d;
    of_dd[s] += d * d;
    of_e[s] += e;
    of_ed[s] += e * d;
  }
  var sums: vec4f;
  for (var s = 0u; s < HELD; s++) {
    var part = vec4f(fold(of_d[s]), fold(of_dd[s]), fold(of_e[s]), fold(of_ed[s]));
    for (var other = 1u; other < LANES; other *= 2u) { part += subgroupShuffleXor(part, other); }
    sums = select(sums + part, part, s == 0u);
  }
  sums /= n;
  let rest = sums.x;
  let scale = 1.0 / sqrt(sums.y - rest * rest + p.eps);
  let slope = (sums.w - sums.z * rest) * scale * scale;
  for (var i = own; i < width4; i += LANES) {
    let e = fma(dy[start + i], gamma[i], vec4f(-means.y)) - sums.z;
    var value = fma(-((x[start + i] - means.x) - rest), vec4f(slope), e) * scale;
    if (p.has_earlier != 0u) { value += earlier[start + i]; }
    dx[start + i] = value;
  }
  if (own == 0u && row < p.rows) { stats[row] = vec4f(means.x, rest, scale, 0.0); }
}
