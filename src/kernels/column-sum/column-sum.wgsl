// y[b, c] = sum of x[r, c] over the rows r of block b, BLOCK rows to a block.      torch.sum(x, dim = 0), one stage of it
// One thread per column of a block, its rows 8 by 8. The wrapper repeats the stage on the blocks until one row is left, so
// no chain of additions is longer than 8 and no two threads add to one place.
override WG: u32 = 64u; // threads per workgroup
const BLOCK = 32u;      // rows
const GROUP = 8u;       // rows summed in order before they join
struct Params { rows: u32, width: u32, blocks: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, width]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [blocks, width]

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
    for (var r = start; r < min(start + GROUP, end); r++) { part += x[r * p.width + column]; }
    sum += part;
  }
  y[i] = sum;
}
