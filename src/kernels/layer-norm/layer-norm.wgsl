// y = (x - mean) / sqrt(var + eps) * gamma + beta, per row.      torch.nn.LayerNorm
// One workgroup per row. Mean first, then sums over d = x - mean: E[x^2] - mean^2 cancels (2.6e-1 against 1.4e-4 at
// width 560 and offset 1000). The mean of d, what rounding left of the first mean, is taken off as well.
// Each thread sums a strided part, then every thread adds the WG parts in order.
override WG: u32 = 32u; // threads per row
struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, width]
@group(0) @binding(2) var<storage, read> gamma: array<f32>;    // [width]
@group(0) @binding(3) var<storage, read> beta: array<f32>;     // [width]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;  // [rows, width]
var<workgroup> parts: array<vec2f, WG>;

fn sum_of_parts() -> vec2f {
  var sum = vec2f(0.0);
  for (var i = 0u; i < WG; i++) { sum += parts[i]; }
  return sum;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let start = row * p.width;
  let n = f32(p.width);
  var part = vec2f(0.0);
  for (var i = lane; i < p.width; i += WG) { part.x += x[start + i]; }
  parts[lane] = part;
  workgroupBarrier();
  let mean = sum_of_parts().x / n;
  workgroupBarrier();
  part = vec2f(0.0);
  for (var i = lane; i < p.width; i += WG) {
    let d = x[start + i] - mean;
    part = vec2f(part.x + d, fma(d, d, part.y));
  }
  parts[lane] = part;
  workgroupBarrier();
  let sums = sum_of_parts() / n;
  let rest = sums.x;
  let scale = 1.0 / sqrt(sums.y - rest * rest + p.eps);
  for (var i = lane; i < p.width; i += WG) {
    y[start + i] = fma(((x[start + i] - mean) - rest) * scale, gamma[i], beta[i]);
  }
}
