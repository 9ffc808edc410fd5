// dv[t, c] = dy[t, c] + sum_j dy[t - j + left, c] * w[c, j], rows outside the clip counting as zero.
// torch.autograd of torch.nn.Conv1d(groups = width, bias = False) over each clip plus its input, with respect to the input.
// One thread per element; neighbouring threads take neighbouring channels.
override WG: u32 = 64u; // threads per workgroup
struct Params { rows: u32, width: u32, taps: u32, left: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;       // [rows, width]
@group(0) @binding(2) var<storage, read> w: array<f32>;        // [width, taps]
@group(0) @binding(3) var<storage, read> ranges: array<vec2u>; // [rows] first row of the row's clip, and one past its last
@group(0) @binding(4) var<storage, read_write> dv: array<f32>; // [rows, width]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.rows * p.width) { return; }
  let row = i / p.width;
  let channel = i % p.width;
  let clip = ranges[row];
  var sum = 0.0;
  for (var j = 0u; j < p.taps; j++) {
    let reader = row + p.left; // of the row that reads this one through tap j, which lies at reader - j
    if (reader >= clip.x + j && reader < clip.y + j) {
      sum = fma(dy[(reader - j) * p.width + channel], w[channel * p.taps + j], sum);
    }
  }
  dv[i] = dy[i] + sum;
}
