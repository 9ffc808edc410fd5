// y[r] = index of the largest x[r]; the lowest index where several are equal.      torch.argmax
// A row that holds a NaN gives 0xffffffff, which is no index. One workgroup per row: each thread takes a strided part,
// then thread 0 compares the WG winners.
override WG: u32 = 64u; // threads per row
struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, width]
@group(0) @binding(2) var<storage, read_write> y: array<u32>;  // [rows]
var<workgroup> values: array<f32, WG>;
var<workgroup> indices: array<u32, WG>;
const NONE = 0xffffffffu; // from a thread: it saw no element; from a row: it holds a NaN
const IS_NAN = 0xfffffffeu;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  var best = 0.0;
  var index = NONE;
  for (var i = lane; i < p.width; i += WG) {
    let v = x[row * p.width + i];
    if ((bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u) {
      index = IS_NAN;
      break;
    }
    if (index == NONE || v > best) {
      best = v;
      index = i;
    }
  }
  values[lane] = best;
  indices[lane] = index;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var t = 1u; t < WG; t++) {
    let i = indices[t];
    if (i == IS_NAN) { index = IS_NAN; }
    if (index == IS_NAN || i == NONE) { continue; }
    if (values[t] > best || (values[t] == best && i < index)) {
      best = values[t];
      index = i;
    }
  }
  y[row] = select(index, NONE, index == IS_NAN);
}
