// y[r] = x[r] * scale + table[r - first row of r's clip].      FunASR SinusoidalPositionEncoder, with the scale before it
// One thread per element. The table comes from the CPU, computed in double precision.
override WG: u32 = 64u; // threads per workgroup
struct Params { rows: u32, width: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [rows, width]
@group(0) @binding(2) var<storage, read> table: array<f32>;     // [longest clip, width]
@group(0) @binding(3) var<storage, read> ranges: array<vec2u>;  // [rows] first row of the row's clip, and one past its last
@group(0) @binding(4) var<storage, read_write> y: array<f32>;   // [rows, width]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.rows * p.width) { return; }
  let row = i / p.width;
  y[i] = fma(x[i], p.scale, table[(row - ranges[row].x) * p.width + i % p.width]);
}
