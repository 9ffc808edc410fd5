// y[c, r] = w[r, c], with zeros for r from `rows` to the next multiple of 8.      torch.Tensor.t, padded
// So that the gradients of `linear` are products of rows with rows. bf16 and f16 keep their bits, the rest becomes f32.
// One thread per 8 rows and 4 columns: 8 reads of 4 columns, 4 writes of 8 rows; neighbouring threads take neighbouring columns.
override WEIGHT: u32 = 0u; // storage of w: 0 f32, 1 bf16, 2 f16 (two to a u32, low half first), 3 q8, 4 q4
override WG: u32 = 32u;    // threads per workgroup
struct Params {
  rows: u32, // of w
  k4: u32    // columns of w / 4
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec2u>;       // [rows, k4] of 2 (f32), 1 (bf16, f16), 1/2 (q8); q4 [rows, k4 / 64] of 18
@group(0) @binding(2) var<storage, read> scales: array<u32>;    // [rows, k4 / 8] q8's f16, two to a u32; else any array
@group(0) @binding(3) var<storage, read_write> y: array<vec4u>; // [4 * k4, ceil(rows / 8)] of 1 (bf16, f16), 2 (else)

fn word(i: u32) -> u32 { return w[i >> 1u][i & 1u]; }

// q4 is ggml's Q4_K: see linear.wgsl.
fn q4(i: u32) -> vec4f {
  let block = (i / 64u) * 36u;
  let part = (i % 64u) / 8u; // of 32 weights
  let d = unpack2x16float(word(block));
  let near = word(block + 1u + (part >> 2u)) >> (8u * (part & 3u));
  let far = word(block + 2u + (part >> 2u)) >> (8u * (part & 3u));
  var scale = near & 63u;
  var minimum = far & 63u;
  if (part >= 4u) {
    scale = (far & 15u) | (((word(block + 1u) >> (8u * (part & 3u))) >> 2u) & 48u);
    minimum = ((far >> 4u) & 15u) | ((near >> 2u) & 48u);
  }
  let values = word(block + 4u + (part >> 1u) * 8u + i % 8u) >> (4u * (part & 1u));
  let v = vec4f(bitcast<vec4i>(vec4u(values, values >> 8u, values >> 16u, values >> 24u) & vec4u(15u)));
  return (d.x * f32(scale)) * v - vec4f(d.y * f32(minimum));
}

// Bits of 4 neighbouring weights; of bf16 and f16 the low halves.
fn bits(i: u32) -> vec4u {
  if (WEIGHT == 0u) { return vec4u(w[2u * i], w[2u * i + 1u]); }
  if (WEIGHT == 3u) {
    let scale = unpack2x16float(scales[i >> 4u])[(i >> 3u) & 1u];
    let u = word(i);
    return bitcast<vec4u>(vec4f(bitcast<vec4i>(vec4u(u << 24u, u << 16u, u << 8u, u)) >> vec4u(24u)) * scale);
  }
  if (WEIGHT == 4u) { return bitcast<vec4u>(q4(i)); }
  let u = w[i];
  return vec4u(u.x & 0xffffu, u.x >> 16u, u.y & 0xffffu, u.y >> 16u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let thread = (group.y * groups.x + group.x) * WG + lane;
  let block = thread / p.k4;
  let column = thread % p.k4; // in vec4
  let blocks = (p.rows + 7u) / 8u;
  if (block >= blocks) { return; }
  var v = array<vec4u, 8>();
  for (var r = 0u; r < 8u; r++) {
    if (block * 8u + r < p.rows) { v[r] = bits((block * 8u + r) * p.k4 + column); }
  }
  for (var c = 0u; c < 4u; c++) {
    let at = (4u * column + c) * blocks + block;
    let a = vec4u(v[0][c], v[1][c], v[2][c], v[3][c]);
    let b = vec4u(v[4][c], v[5][c], v[6][c], v[7][c]);
    if (WEIGHT == 1u || WEIGHT == 2u) {
      y[at] = vec4u(a.xz, b.xz) | (vec4u(a.yw, b.yw) << vec4u(16u));
    } else {
      y[2u * at] = a;
      y[2u * at + 1u] = b;
    }
  }
}
