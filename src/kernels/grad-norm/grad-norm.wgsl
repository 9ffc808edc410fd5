// parts[first + g] = sum of x^2 over the g-th chunk of WG * PER elements.      torch.nn.utils.clip_grad_norm_, first half
// One workgroup per chunk: each thread sums a strided part, thread 0 adds the WG sums in order. The same order in every run.
override WG: u32 = 64u; // threads per workgroup
const PER = 64u;        // elements of one thread
struct Params { count: u32, first: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;            // [count]
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;  // [chunks of all tensors]
var<workgroup> sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let chunk = group.y * groups.x + group.x;
  let start = chunk * WG * PER;
  if (start >= p.count) { return; }
  let end = min(start + WG * PER, p.count);
  var sum = 0.0;
  for (var i = start + lane; i < end; i += WG) { sum = fma(x[i], x[i], sum); }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane != 0u) { return; }
  var total = 0.0;
  for (var i = 0u; i < WG; i++) { total += sums[i]; }
  parts[p.first + chunk] = total;
}
