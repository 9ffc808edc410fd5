// y[t, c] = v[t, c] + sum_j v[t + j - left, c] * w[c, j], left = taps - 1; the rows before a clip are those of `before`.
// fsmn.wgsl for a clip that goes on, with its sum order: torch.nn.Conv1d(groups = width, bias = False) over what came before and
// the clip, plus the clip. One thread per 8 rows of a clip and channel, so that a row is read once for all of them.
override WG: u32 = 64u; // threads per workgroup
struct Params { rows: u32, width: u32, taps: u32, tiles: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> v: array<f32>;       // [rows, width]
@group(0) @binding(2) var<storage, read> w: array<f32>;       // [width, taps]
@group(0) @binding(3) var<storage, read> before: array<f32>;  // [clips, taps - 1, width]
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>; // [tiles] first row, one past the last, first row of the clip, clip
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [rows, width]

// Row s of a clip, counted from the first of `before` on; rows past the end repeat the last one and are not stored.
fn row_of(tile: vec4u, s: u32, channel: u32) -> f32 {
  let left = p.taps - 1u;
  if (s < left) { return before[(tile.w * left + s) * p.width + channel]; }
  return v[min(tile.z + s - left, p.rows - 1u) * p.width + channel];
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.tiles * p.width) { return; }
  let tile = tiles[i / p.width];
  let channel = i % p.width;
  let first = tile.x - tile.z; // row_of the first tap of the tile's first row
  var a0 = 0.0; // a0 to a7: what a tap reads for each row
  var a1 = row_of(tile, first + 0u, channel);
  var a2 = row_of(tile, first + 1u, channel);
  var a3 = row_of(tile, first + 2u, channel);
  var a4 = row_of(tile, first + 3u, channel);
  var a5 = row_of(tile, first + 4u, channel);
  var a6 = row_of(tile, first + 5u, channel);
  var a7 = row_of(tile, first + 6u, channel);
  var s0 = 0.0; var s1 = 0.0; var s2 = 0.0; var s3 = 0.0; var s4 = 0.0; var s5 = 0.0; var s6 = 0.0; var s7 = 0.0;
  for (var j = 0u; j < p.taps; j++) {
    a0 = a1; a1 = a2; a2 = a3; a3 = a4; a4 = a5; a5 = a6; a6 = a7;
    a7 = row_of(tile, first + 7u + j, channel);
    let tap = w[channel * p.taps + j];
    s0 = fma(a0, tap, s0);
    s1 = fma(a1, tap, s1);
    s2 = fma(a2, tap, s2);
    s3 = fma(a3, tap, s3);
    s4 = fma(a4, tap, s4);
    s5 = fma(a5, tap, s5);
    s6 = fma(a6, tap, s6);
    s7 = fma(a7, tap, s7);
  }
  let at = tile.x * p.width + channel;
  let rows = tile.y - tile.x;
  y[at] = a0 + s0;
  if (rows > 1u) { y[at + 1u * p.width] = a1 + s1; }
  if (rows > 2u) { y[at + 2u * p.width] = a2 + s2; }
  if (rows > 3u) { y[at + 3u * p.width] = a3 + s3; }
  if (rows > 4u) { y[at + 4u * p.width] = a4 + s4; }
  if (rows > 5u) { y[at + 5u * p.width] = a5 + s5; }
  if (rows > 6u) { y[at + 6u * p.width] = a6 + s6; }
  if (rows > 7u) { y[at + 7u * p.width] = a7 + s7; }
}
