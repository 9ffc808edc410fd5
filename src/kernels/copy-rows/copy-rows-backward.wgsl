// dx[r] = sum of dy[targets[i]] over i from starts[r] to starts[r + 1] - 1, per row: 0 where row r was never copied.
// torch.autograd of torch.Tensor.index_copy_ and index_select with respect to the rows that were copied.
// One thread per element, which gathers what its row was copied to, in that order: no two threads add to one place.
override WG: u32 = 64u; // threads per workgroup
struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;        // [target rows, width]
@group(0) @binding(2) var<storage, read> starts: array<u32>;    // [rows + 1]
@group(0) @binding(3) var<storage, read> targets: array<u32>;   // [copies] rows of dy, sorted by the row that went there
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;  // [rows, width]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.rows * p.width) { return; }
  let row = i / p.width;
  let column = i % p.width;
  var sum = 0.0;
  for (var k = starts[row]; k < starts[row + 1u]; k++) { sum += dy[targets[k] * p.width + column]; }
  dx[i] = sum;
}
