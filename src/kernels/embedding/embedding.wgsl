// y[r] = w[ids[r]], for the ids that lie in this piece of w.      torch.nn.functional.embedding
// One thread per pair of columns (a u32 holds two bf16 or f16). Rows of other pieces are left alone.
override WEIGHT: u32 = 0u; // storage of w: 0 f32, 1 bf16, 2 f16 (two to a u32, low half first), 3 q8, 4 q4
override WG: u32 = 64u;    // threads per workgroup
struct Params { rows: u32, half_width: u32, first: u32, piece_rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;        // [rows]
@group(0) @binding(2) var<storage, read> w: array<vec2u>;        // [piece_rows, width] stored as in linear.wgsl
@group(0) @binding(3) var<storage, read> scales: array<u32>;     // [piece_rows, width / 32] q8's f16, two to a u32; else any array
@group(0) @binding(4) var<storage, read_write> y: array<vec2f>;  // [rows, half_width]

fn word(i: u32) -> u32 { return w[i >> 1u][i & 1u]; }

// q4 is ggml's Q4_K: 256 weights in 36 words: f16 d and dmin; 8 scales and 8 minima of 6 bits; 128 bytes of two 4-bit
// values, the low halves 32 weights before the high ones. A weight is d * scale * value - dmin * minimum.
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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.rows * p.half_width) { return; }
  let id = ids[i / p.half_width];
  if (id < p.first || id >= p.first + p.piece_rows) { return; }
  let at = (id - p.first) * p.half_width + i % p.half_width;
  if (WEIGHT == 0u) {
    y[i] = bitcast<vec2f>(w[at]);
  } else if (WEIGHT == 1u) {
    y[i] = bitcast<vec2f>(vec2u(word(at) << 16u, word(at) & 0xffff0000u));
  } else if (WEIGHT == 2u) {
    y[i] = unpack2x16float(word(at));
  } else if (WEIGHT == 3u) {
    let scale = unpack2x16float(scales[at >> 5u])[(at >> 4u) & 1u];
    let u = word(at >> 1u) >> (16u * (at & 1u));
    y[i] = vec2f(bitcast<vec2i>(vec2u(u << 24u, u << 16u)) >> vec2u(24u)) * scale;
  } else {
    let four = q4(at >> 1u);
    y[i] = select(four.xy, four.zw, (at & 1u) == 1u);
  }
}
