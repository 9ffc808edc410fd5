// y[r] = table[ids[r]], for the ids that lie in this piece of the table.      torch.nn.functional.embedding
// One thread per pair of columns (a u32 holds two bf16 or f16). Rows of other pieces are left alone.
override WEIGHT: u32 = 0u; // storage of table: 0 f32, 1 bf16, 2 f16 (two to a u32, low half first)
override WG: u32 = 64u;    // threads per workgroup
struct Params { rows: u32, half_width: u32, first: u32, piece_rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;        // [rows]
@group(0) @binding(2) var<storage, read> table: array<u32>;      // [piece_rows, width] in its storage type
@group(0) @binding(3) var<storage, read_write> y: array<vec2f>;  // [rows, half_width]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.rows * p.half_width) { return; }
  let id = ids[i / p.half_width];
  if (id < p.first || id >= p.first + p.piece_rows) { return; }
  let at = (id - p.first) * p.half_width + i % p.half_width;
  if (WEIGHT == 0u) {
    y[i] = vec2f(bitcast<f32>(table[2u * at]), bitcast<f32>(table[2u * at + 1u]));
  } else if (WEIGHT == 1u) {
    y[i] = bitcast<vec2f>(vec2u(table[at] << 16u, table[at] & 0xffff0000u));
  } else {
    y[i] = unpack2x16float(table[at]);
  }
}
