// y[b, c] = sum of dy[r, c] * ((x[r, c] - mean[r]) - rest[r]) * scale[r] over the rows r of block b, BLOCK rows to a block.
// torch.autograd of the weight of torch.nn.LayerNorm and of Qwen3RMSNorm (mean = rest = 0), before column-sum.wgsl.
// One thread per column of a block, its rows 8 by 8.
override WG: u32 = 64u; // threads per workgroup
const BLOCK = 32u;      // rows
const GROUP = 8u;       // rows summed in order before they join
struct Params { rows: u32, width: u32, blocks: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;       // [rows, width]
@group(0) @binding(2) var<storage, read> x: array<f32>;        // [rows, width]
@group(0) @binding(3) var<storage, read> stats: array<vec4f>;  // [rows] mean, rest, scale, 0
@group(0) @binding(4) var<storage, read_write> y: array<f32>;  // [blocks, width]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.blocks * p.width) { return; }
  let first = (i / p.width) * BLOCK;
  let column = i % p.width;
  let end = min(first + BLOCK, p.rows);
  var sum = 0.0;
  for (var start = first; start < end; start += GROUP) {
    var part = 0.0;
    for (var r = start; r < min(start + GROUP, end); r++) {
      let at = r * p.width + column;
      let row = stats[r];
      part = fma(dy[at], ((x[at] - row.x) - row.y) * row.z, part);
    }
    sum += part;
  }
  y[i] = sum;
}
