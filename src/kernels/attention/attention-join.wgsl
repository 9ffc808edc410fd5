// context[r, h] = softmax(q[r, h] . k[j, h / group] * scale, over j in the row's range) @ v[j, h / group]
// attention-row.wgsl for split ranges: joins what its workgroups made of a row's chunks of keys, in their order. One thread
// per vec4 of the context.
const WG = 32u;     // threads per workgroup
const CHUNK = 128u; // keys, as in attention-row.wgsl
const LOWEST = -0x1.fffffep+127f;
struct Params { rows: u32, heads: u32, head4: u32, chunks: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;    // [rows, heads, chunks, head4 + 1] context; last: maximum, sum
@group(0) @binding(2) var<storage, read> ranges: array<vec2u>;   // [rows] first key row, and one past the last
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;  // [rows, heads, head4]

// exp to 1.5e-7 relative: the built-in was measured at 4e-6 on lavapipe and SwiftShader, where exp(NaN) was infinity.
// exp(x) = 2^n exp(r), |r| <= ln(2) / 2. The first product is formed in integers so that no compiler merges the two
// parts of n ln(2) (45426 / 65536 + 1.42860677e-6). Subnormal results are 0.
fn accurate_exp(x: f32) -> f32 {
  let t = select(select(x, -88.0, x < -88.0), 89.0, x > 89.0); // NaN stays
  let n = i32(round(t * 1.44269504));
  let r = (t - f32(n * 45426) * 0x1p-16) - f32(n) * 1.42860677e-6;
  var q = fma(r, 1.0 / 5040.0, 1.0 / 720.0); // Taylor series
  q = fma(r, fma(r, fma(r, fma(r, q, 1.0 / 120.0), 1.0 / 24.0), 1.0 / 6.0), 0.5);
  return (1.0 + fma(r * r, q, r)) * bitcast<f32>((n + 127) << 23u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let id = (wg.y * groups.x + wg.x) * WG + lane;
  if (id >= p.rows * p.heads * p.head4) { return; }
  let head = id / p.head4; // row and head
  let range = ranges[head / p.heads];
  let used = (range.y - range.x + CHUNK - 1u) / CHUNK;
  var largest = LOWEST;
  var sum = 0.0;
  var context = vec4f();
  for (var c = 0u; c < used; c++) {
    let at = (head * p.chunks + c) * (p.head4 + 1u);
    let chunk = parts[at + p.head4];
    let top = max(largest, chunk.x);
    let shrink = accurate_exp(largest - top);
    let grow = accurate_exp(chunk.x - top);
    sum = fma(sum, shrink, chunk.y * grow);
    context = fma(context, vec4f(shrink), parts[at + id % p.head4] * grow);
    largest = top;
  }
  y[id] = context / sum;
}
