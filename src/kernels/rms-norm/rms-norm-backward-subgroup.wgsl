// dx = (a - x * s^2 * mean(a * x)) * s + earlier, a = dy * gamma, s = 1 / sqrt(mean(x^2) + eps), per row.
// torch.autograd of Qwen3RMSNorm. rms-norm-backward.wgsl for devices whose subgroups have one known size SG, and rows of whole vec4.
// A workgroup is one subgroup; 8 lanes take a row (all lanes, where there are fewer): each sums its vec4 in order, four sums apart,
// and these are joined by twos over the lanes, alike in all of them. Each row's s is kept for the gradient of gamma (column-sum-normed.wgsl).
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
@group(0) @binding(6) var<storage, read_write> stats: array<vec4f>;  // [rows] 0, 0, s, 0

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let row = (group.y * groups.x + group.x) * (SG / LANES) + lane / LANES;
  let own = lane % LANES;
  let width4 = select(0u, p.width / 4u, row < p.rows); // a row past the end has nothing
  let start = row * (p.width / 4u);
  var squares = array<vec4f, HELD>();
  var products = array<vec4f, HELD>();
  for (var i = own; i < width4; i += LANES) {
    let s = (i / LANES) % HELD;
    let value = x[start + i];
    squares[s] = fma(value, value, squares[s]);
    products[s] = fma(value, dy[start + i] * gamma[i], products[s]);
  }
  var sums: vec2f;
  for (var s = 0u; s < HELD; s++) {
    var part = vec2f((squares[s].x + squares[s].y) + (squares[s].z + squares[s].w),
                     (products[s].x + products[s].y) + (products[s].z + products[s].w));
    for (var other = 1u; other < LANES; other *= 2u) { part += subgroupShuffleXor(part, other); }
    sums = select(sums + part, part, s == 0u);
  }
  sums /= f32(p.width);
  let scale = 1.0 / sqrt(sums.x + p.eps);
  let slope = sums.y * scale * scale;
  for (var i = own; i < width4; i += LANES) {
    var value = fma(-x[start + i], vec4f(slope), dy[start + i] * gamma[i]) * scale;
    if (p.has_earlier != 0u) { value += earlier[start + i]; }
    dx[start + i] = value;
  }
  if (own == 0u && row < p.rows) { stats[row] = vec4f(0.0, 0.0, scale, 0.0); }
}
