// dw = dy^T @ x.      torch.nn.functional.linear, gradient of its weight
// One thread per tile of TN rows and 4 columns of dw; neighbouring threads take neighbouring columns.
// Sum order of every element: 16 consecutive rows of x in order, 16 such blocks in order, then those groups of 256 in order.
override WG: u32 = 32u; // threads per workgroup
const TN = 4u;
const BLOCK = 16u;
const GROUP = 256u;
alias Tile = array<vec4f, TN>;
struct Params {
  rows: u32,    // M
  k4: u32,      // K / 4
  columns: u32, // N
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;         // [rows, columns]
@group(0) @binding(2) var<storage, read> x: array<vec4f>;        // [rows, K / 4]
@group(0) @binding(3) var<storage, read_write> dw: array<vec4f>; // [columns, K / 4]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let tile = (group.y * groups.x + group.x) * WG + lane;
  let row = (tile / p.k4) * TN;
  let column = tile % p.k4; // in vec4
  if (row >= p.columns) { return; }
  var yi: array<u32, TN>; // columns of dy; those past the end repeat the last one and are not stored
  for (var n = 0u; n < TN; n++) { yi[n] = min(row + n, p.columns - 1u); }
  var total = Tile();
  for (var outer = 0u; outer < p.rows; outer += GROUP) {
    var part = Tile();
    for (var start = outer; start < min(outer + GROUP, p.rows); start += BLOCK) {
      var sum = Tile();
      for (var m = start; m < min(start + BLOCK, p.rows); m++) {
        let b = x[m * p.k4 + column];
        for (var n = 0u; n < TN; n++) { sum[n] = fma(vec4f(dy[m * p.columns + yi[n]]), b, sum[n]); }
      }
      for (var n = 0u; n < TN; n++) { part[n] += sum[n]; }
    }
    for (var n = 0u; n < TN; n++) { total[n] += part[n]; }
  }
  for (var n = 0u; n < TN; n++) {
    if (row + n < p.columns) { dw[(row + n) * p.k4 + column] = total[n]; }
  }
}
