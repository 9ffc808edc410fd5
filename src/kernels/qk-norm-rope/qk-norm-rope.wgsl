// y[r, h] = turn(q[r, h] / sqrt(mean(q[r, h]^2) + eps) * gamma), the same of k into the cache, and v as it is.      Qwen3Attention
// rms-norm.wgsl, rope.wgsl and copy-rows.wgsl for the heads of one projection in one pass, with the sums of rms-norm.wgsl, so
// the same bits. One workgroup per row and head.
const WG = 32u; // threads per head
struct Params {
  rows: u32,
  heads: u32,    // of q
  kv_heads: u32, // of k, and of v
  half: u32,     // pairs of a head
  eps: f32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;             // [rows, heads + 2 * kv_heads, 2 * half]
@group(0) @binding(2) var<storage, read> q_gamma: array<f32>;         // [2 * half]
@group(0) @binding(3) var<storage, read> k_gamma: array<f32>;         // [2 * half]
@group(0) @binding(4) var<storage, read> angles: array<vec2f>;        // [rows, half] cos and sin
@group(0) @binding(5) var<storage, read> slots: array<vec2u>;         // [rows] row, row of the cache
@group(0) @binding(6) var<storage, read_write> y: array<f32>;         // [rows, heads, 2 * half]
@group(0) @binding(7) var<storage, read_write> keys: array<f32>;      // [cache rows, kv_heads, 2 * half]
@group(0) @binding(8) var<storage, read_write> values: array<f32>;    // [cache rows, kv_heads, 2 * half]
var<workgroup> parts: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let id = group.y * groups.x + group.x;
  let all_heads = p.heads + 2u * p.kv_heads;
  if (id >= p.rows * all_heads) { return; }
  let row = id / all_heads;
  let head = id % all_heads;
  let width = 2u * p.half;
  let start = id * width;
  let slot = slots[row].y * p.kv_heads * width;
  if (head >= p.heads + p.kv_heads) {
    let to = slot + (head - p.heads - p.kv_heads) * width;
    for (var i = lane; i < width; i += WG) { values[to + i] = qkv[start + i]; }
    return;
  }
  var part = 0.0;
  for (var i = lane; i < width; i += WG) { part = fma(qkv[start + i], qkv[start + i], part); }
  parts[lane] = part;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < WG; i++) { sum += parts[i]; }
  let scale = 1.0 / sqrt(sum / f32(width) + p.eps);
  let is_query = head < p.heads;
  for (var i = lane; i < p.half; i += WG) {
    let j = i + p.half;
    let gamma = select(vec2f(k_gamma[i], k_gamma[j]), vec2f(q_gamma[i], q_gamma[j]), is_query);
    let x = (vec2f(qkv[start + i], qkv[start + j]) * scale) * gamma;
    let angle = angles[row * p.half + i];
    let turned = vec2f(x.x * angle.x - x.y * angle.y, x.y * angle.x + x.x * angle.y);
    if (is_query) {
      let to = (row * p.heads + head) * width;
      y[to + i] = turned.x;
      y[to + j] = turned.y;
    } else {
      let to = slot + (head - p.heads) * width;
      keys[to + i] = turned.x;
      keys[to + j] = turned.y;
    }
  }
}
