// y[r, h] = turn(q[r, h] / sqrt(mean(q[r, h]^2) + eps) * gamma), the same of k into the cache, and v as it is.      Qwen3Attention
// qk-norm-rope.wgsl for devices whose subgroups have one known size SG, and heads whose halves are whole vec4. A workgroup is one
// subgroup; 8 lanes take a head of a row (all lanes, where there are fewer), with the sums of rms-norm-subgroup.wgsl: the same bits.
enable subgroups;
const SG = 8u;               // @set lanes of a subgroup
const LANES = min(8u, SG);   // of a head
const HELD = 8u / LANES;     // vec4 of a lane among the 32 parts
struct Params {
  rows: u32,
  heads: u32,    // of q
  kv_heads: u32, // of k, and of v
  half: u32,     // pairs of a head
  eps: f32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;           // [rows, heads + 2 * kv_heads, 2 * half4]
@group(0) @binding(2) var<storage, read> q_gamma: array<vec4f>;       // [2 * half4]
@group(0) @binding(3) var<storage, read> k_gamma: array<vec4f>;       // [2 * half4]
@group(0) @binding(4) var<storage, read> angles: array<vec4f>;        // [rows, half4, 2] cos and sin of two pairs
@group(0) @binding(5) var<storage, read> slots: array<vec2u>;         // [rows] row, row of the cache
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;       // [rows, heads, 2 * half4]
@group(0) @binding(7) var<storage, read_write> keys: array<vec4f>;    // [cache rows, kv_heads, 2 * half4]
@group(0) @binding(8) var<storage, read_write> values: array<vec4f>;  // [cache rows, kv_heads, 2 * half4]

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(subgroup_invocation_id) lane: u32) {
  let id = (group.y * groups.x + group.x) * (SG / LANES) + lane / LANES;
  let own = lane % LANES;
  let half4 = p.half / 4u; // vec4 of half a head
  let all_heads = p.heads + 2u * p.kv_heads;
  let row = min(id / all_heads, p.rows - 1u);
  let head = id % all_heads;
  let stored = id < p.rows * all_heads;
  let width4 = select(0u, 2u * half4, stored); // a head past the end has nothing
  let start = id * 2u * half4;
  let slot = slots[row].y * p.kv_heads * 2u * half4;
  let is_value = head >= p.heads + p.kv_heads;
  let is_query = head < p.heads;
  var part = array<vec4f, HELD>();
  for (var s = 0u; s < HELD; s++) {
    for (var i = s * LANES + own; i < width4; i += 8u) { part[s] = fma(qkv[start + i], qkv[start + i], part[s]); }
  }
  var sum = 0.0;
  for (var t = 0u; t < 32u; t++) { sum += subgroupShuffle(part[t / 4u / LANES][t % 4u], lane - own + (t / 4u) % LANES); }
  if (!stored) { return; }
  if (is_value) {
    let to = slot + (head - p.heads - p.kv_heads) * width4;
    for (var i = own; i < width4; i += LANES) { values[to + i] = qkv[start + i]; }
    return;
  }
  let scale = 1.0 / sqrt(sum / f32(4u * width4) + p.eps);
  for (var i = own; i < half4; i += LANES) {
    let j = i + half4;
    var a = qkv[start + i] * scale;
    var b = qkv[start + j] * scale;
    if (is_query) {
      a *= q_gamma[i];
      b *= q_gamma[j];
    } else {
      a *= k_gamma[i];
      b *= k_gamma[j];
    }
    let two = array<vec4f, 2>(angles[(row * half4 + i) * 2u], angles[(row * half4 + i) * 2u + 1u]);
    let cosines = vec4f(two[0].xz, two[1].xz);
    let sines = vec4f(two[0].yw, two[1].yw);
    let turned_a = a * cosines - b * sines;
    let turned_b = b * cosines + a * sines;
    if (is_query) {
      let to = (row * p.heads + head) * width4;
      y[to + i] = turned_a;
      y[to + j] = turned_b;
    } else {
      let to = slot + (head - p.heads) * width4;
      keys[to + i] = turned_a;
      keys[to + j] = turned_b;
    }
  }
}
