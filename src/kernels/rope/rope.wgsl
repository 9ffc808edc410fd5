// y[r, h] = x[r, h] * cos + rotate_half(x[r, h]) * sin, rotate_half(a, b) = (-b, a).      transformers apply_rotary_pos_emb
// One thread per pair (i, i + half) of all heads of a row, which turn alike. The angles come from the CPU, computed in double precision.
// The gradient is the turn by the opposite angle: torch.autograd of it is the same kernel with INVERSE.
override WG: u32 = 64u; // threads per workgroup
override INVERSE: bool = false;
struct Params { rows: u32, heads: u32, half: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [rows, heads, 2 * half]
@group(0) @binding(2) var<storage, read> angles: array<vec2f>;  // [rows, half] cos and sin
@group(0) @binding(3) var<storage, read_write> y: array<f32>;   // [rows, heads, 2 * half]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let id = (group.y * groups.x + group.x) * WG + lane;
  if (id >= p.rows * p.half) { return; }
  var angle = angles[id];
  if (INVERSE) { angle.y = -angle.y; }
  var at = (id / p.half) * p.heads * 2u * p.half + id % p.half;
  for (var head = 0u; head < p.heads; head++) {
    let a = x[at];
    let b = x[at + p.half];
    y[at] = a * angle.x - b * angle.y;
    y[at + p.half] = b * angle.x + a * angle.y;
    at += 2u * p.half;
  }
}
