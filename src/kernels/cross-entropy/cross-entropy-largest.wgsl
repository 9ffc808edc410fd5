// largest[r, c] = max of x[r, 1024 c .. 1024 c + 1023], without the NaN.
// cross-entropy.wgsl for GPUs, 1 of 4: a row is shared by many workgroups, one for 1,024 scores; all four keep its order of sums.
override WG: u32 = 64u; // threads of a workgroup
const PART = 1024u; // scores of a workgroup
struct Params { rows: u32, width: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // [rows, width]
@group(0) @binding(2) var<storage, read_write> largest: array<f32>;  // [rows, parts]
var<workgroup> found: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let id = group.y * groups.x + group.x;
  let row = id / p.parts;
  if (row >= p.rows) { return; }
  let start = (id % p.parts) * PART;
  let at = row * p.width;
  var best = -0x1.fffffep+127f;
  for (var i = start + lane; i < min(start + PART, p.width); i += WG) { best = select(best, x[at + i], x[at + i] > best); }
  found[lane] = best;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var t = 1u; t < WG; t++) { best = max(best, found[t]); }
  largest[id] = best;
}
