// One WGSL kernel with a wrapper, a reference in f64 and a time: npx tsx examples/kernel.ts
import { type Gpu, type Tensor, parseKernel } from "funasr-webgpu";
import { openDevice } from "funasr-webgpu/node";

const kernel = parseKernel(
  "gelu",
  /* wgsl */ `
// y = 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), per element.      torch.nn.functional.gelu(approximate="tanh")
override WG: u32 = 64u; // threads per workgroup
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [count]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [count]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= p.count) { return; }
  let v = x[i];
  y[i] = 0.5 * v * (1.0 + tanh(0.7978845608 * (v + 0.044715 * v * v * v)));
}`,
);

/** x of any shape, f32 → the same shape */
function gelu(gpu: Gpu, x: Tensor): Tensor {
  const count = x.shape.reduce((a, b) => a * b, 1);
  const y = gpu.empty(x.shape);
  gpu.run(kernel, { params: { count }, tensors: { x, y }, groups: Math.ceil(count / 64) });
  return y;
}

/** The same in double precision. */
const reference = (v: number): number =>
  0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));

const { gpu } = await openDevice();
try {
  const x = Float32Array.from({ length: 1 << 20 }, (_, i) => (i / (1 << 20)) * 8 - 4);
  const run = async (): Promise<Float32Array> => {
    const [y] = await gpu.step(() => [gelu(gpu, gpu.upload(x, [x.length]))]);
    return y as Float32Array;
  };
  const y = await run(); // the first run compiles
  const start = performance.now();
  await run();
  const ms = performance.now() - start;
  const error = x.reduce((worst, v, i) => Math.max(worst, Math.abs(y[i] - reference(v))), 0);
  console.log(
    `${x.length} values in ${ms.toFixed(1)} ms with upload and readback, largest error ${error.toExponential(1)}`,
  );
  if (!(error < 2e-6)) process.exitCode = 1;
} finally {
  gpu.destroy();
}
