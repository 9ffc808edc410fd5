// y[b, c, j] = sum of dy[t, c] * v[t + j - left, c] over the rows t of block b, rows outside t's clip counting as zero.
// torch.autograd of the weight of torch.nn.Conv1d(groups = width, bias = False), BLOCK rows to a block, before column-sum.wgsl.
// One thread per block, tap and channel, its rows 8 by 8; neighbouring threads take neighbouring channels.
override WG: u32 = 64u; // threads per workgroup
const BLOCK = 32u;      // rows
const GROUP = 8u;       // rows summed in order before they join
struct Params { rows: u32, width: u32, taps: u32, left: u32, blocks: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;       // [rows, width]
@group(0) @binding(2) var<storage, read> v: array<f32>;        // [rows, width]
@group(0) @binding(3) var<storage, read> ranges: array<vec2u>; // [rows] first row of the row's clip, and one past its last
@group(0) @binding(4) var<storage, read_write> y: array<f32>;  // [blocks, width, taps]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.blocks * p.taps * p.width) { return; }
  let channel = i % p.width;
  let j = (i / p.width) % p.taps;
  let block = i / (p.width * p.taps);
  let end = min((block + 1u) * BLOCK, p.rows);
  var sum = 0.0;
  for (var start = block * BLOCK; start < end; start += GROUP) {
    var part = 0.0;
    for (var t = start; t < min(start + GROUP, end); t++) {
      let clip = ranges[t];
      let source = t + j; // of the row that lies at source - left
      if (source >= clip.x + p.left && source < clip.y + p.left) {
        part = fma(dy[t * p.width + channel], v[(source - p.left) * p.width + channel], part);
      }
    }
    sum += part;
  }
  y[(block * p.width + channel) * p.taps + j] = sum;
}
