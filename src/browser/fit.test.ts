import { expect, test } from "vitest";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { transcription } from "../decode/clip-work.js";
import { countingGpu, leastLimits } from "../gpu/counting.js";
import { requestGpu } from "../kernels/request-gpu.js";
import { demoModel } from "../node/demo.js";
import { modelDirectory } from "../node/files.js";
import { fit } from "./fit.js";

// Plan: what is compiled while weights are on their way is all that a clip runs on the device that
// `requestGpu` opens: on adapters of several kinds, whose limits are above those of their devices.

/** An adapter whose devices count. */
function adapterOf(vendor: string, features: readonly string[], lanes: number): GPUAdapter {
  const limits = { maxStorageBufferBindingSize: 2 ** 31, maxBufferSize: 2 ** 32 };
  return {
    features: new Set(features),
    limits: { ...limits, maxComputeWorkgroupStorageSize: 65_536 },
    info: {
      vendor,
      architecture: "",
      device: "",
      description: "",
      subgroupMinSize: lanes,
      subgroupMaxSize: lanes,
    },
    requestDevice: ({ requiredLimits, requiredFeatures }: GPUDeviceDescriptor) => {
      const { device } = countingGpu({ limits: { ...leastLimits, ...requiredLimits } });
      return Promise.resolve(Object.assign(device, { features: new Set(requiredFeatures) }));
    },
  } as unknown as GPUAdapter;
}

test.each<[string, GPUAdapter]>([
  ["32 lanes", adapterOf("nvidia", ["subgroups"], 32)],
  ["64 lanes", adapterOf("amd", ["subgroups"], 64)],
  ["no subgroups", adapterOf("intel", [], 8)],
])("a GPU with %s", async (_name, adapter) => {
  const files = modelDirectory(demoModel);
  const compiled = new Set((await fit(adapter, files, {})).map(({ kernel }) => kernel.source));
  const gpu = await requestGpu(adapter);
  const ran = new Set<string>();
  gpu.run = (kernel) => void ran.add(kernel.source);
  const checkpoint = await openCheckpoint(files);
  await transcription(checkpoint.config, checkpoint).count(gpu, undefined);
  await checkpoint.close();
  expect(compiled).toEqual(ran);
  const blocks = [...ran].filter((source) => source.includes("const G = ")).length;
  expect(blocks > 0).toBe(adapter.features.has("subgroups"));
});
