import type { Gpu } from "../../src/gpu/device.js";
import { add } from "../../src/kernels/add/add.js";
import type { Spread } from "../../src/profile/ceiling.js";
import { interleave } from "./harness.js";

const chain = 300; // dispatches

const source = `
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { if (id.x < arrayLength(&y)) { y[id.x] = a[id.x] + 1.0; } }`;

/** 300 dependent additions of 1,024 elements: by the engine's op, and by bare WebGPU. */
export async function timeChain(gpu: Gpu, rounds: number): Promise<Record<"engine" | "bare", Spread>> {
  const { device } = gpu;
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: { module: device.createShaderModule({ code: source }), entryPoint: "main" },
  });
  const [one, x, y] = [0, 1, 2].map(() => gpu.keep([1024], "f32"));
  const groups = [
    [x, y],
    [y, x],
  ].map((pair) =>
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: pair.map(({ allocation }, binding) => ({ binding, resource: { buffer: allocation.buffer } })),
    }),
  );
  const bare = async (): Promise<void> => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    for (let i = 0; i < chain; i++) {
      pass.setBindGroup(0, groups[i % 2]);
      pass.dispatchWorkgroups(16);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    await gpu.finish();
  };
  const engine = async (): Promise<void> => {
    await gpu.step(() => {
      let sum = x;
      for (let i = 0; i < chain; i++) sum = gpu.scope(() => add(gpu, sum, one));
      return [];
    });
    await gpu.finish();
  };
  const times = await interleave(
    [
      { name: "engine", run: engine },
      { name: "bare", run: bare },
    ],
    3 * rounds,
  );
  return { engine: times.engine, bare: times.bare };
}
