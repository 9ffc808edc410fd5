import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../src/checkpoint/checkpoint.js";
import type { ModelConfig } from "../src/config/model-config.js";
import { runClips } from "../src/decode/clip-work.js";
import { countedDevice, countingGpu } from "../src/gpu/counting.js";
import { Gpu } from "../src/gpu/device.js";
import { Timing } from "../src/gpu/timing.js";
import { loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import { demoModel } from "../src/node/demo.js";
import { openDevice } from "../src/node/device.js";
import { modelDirectory } from "../src/node/files.js";
import { stageOf } from "../src/profile/summary.js";
import { sizeConfig } from "../src/train/plan-sizes.js";
import type { ParameterSource } from "../src/weights/loader.js";
import { shapeSource } from "../src/weights/shapes.js";
import { restfulWait, useGpu } from "./gpu.js";
import { countRun } from "./helpers/counted-run.js";

// Plan: the demo's encoder, adaptor, prompt and token on a device that counts are those of the
// adapter: each dispatch by kernel, parameters, shapes and groups; submits; bytes after loading and
// at their peak. Alone and eight clips together, in every format, with subgroups and without.
const subgroups = useGpu({ timestamps: true });
let portable: Gpu;
let source: ParameterSource;
let config: ModelConfig;
beforeAll(async () => {
  portable = (await openDevice({ timestamps: true, subgroups: false })).gpu;
  const checkpoint = await openCheckpoint(modelDirectory(demoModel));
  const read = new Map<string, Uint8Array>();
  for (const [name, entry] of checkpoint.tensors)
    read.set(name, (await checkpoint.read(entry, 0, entry.byteLength)).slice());
  await checkpoint.close();
  config = checkpoint.config;
  source = {
    name: "demo",
    tensors: checkpoint.tensors,
    read: ({ name }, at, length) => Promise.resolve(read.get(name)!.slice(at, at + length)),
  };
});
afterAll(() => portable.destroy());

const batches = { alone: [40], together: [5, 31, 8, 17, 33, 2, 16, 24] } as const;
const cases = [
  ["bf16", "alone"],
  ["bf16", "together"],
  ["q8", "alone"],
  ["q4", "together"],
  ["f32", "alone"],
] as const;

describe.each(["subgroups", "portable"] as const)("%s", (family) => {
  test.each(cases)("%s, %s", async (weights, batch) => {
    const { device, subgroupSize } = family === "subgroups" ? subgroups() : portable;
    const fresh = new Gpu(device, { subgroupSize, wait: restfulWait }); // pools of its own
    const work = { frames: batches[batch], text: 21, answer: 2 };
    const real = await countRun(fresh, { config, source, weights }, work);
    fresh.trim();
    const shapes = { config, source: shapeSource(config), weights };
    const counted = await countRun(countingGpu(countedDevice(fresh)), shapes, work);
    expect(counted).toEqual(real);
    expect(real.run.dispatches.length).toBeGreaterThan(100);
  });
});

// Plan: a clip of 30 s of Qwen3-8B is counted without its weights, on a device of WebGPU's least
// limits; the head is then bound in pieces.
test("8B", async () => {
  const config8 = sizeConfig("8B");
  const counted = async (subgroupSize?: number): Promise<number[]> => {
    const gpu = countingGpu({ subgroupSize });
    const model = await loadFunAsrNano(gpu, config8, shapeSource(config8), { weights: "q4" });
    const timing = (gpu.timing = new Timing(gpu.device));
    await runClips(gpu, model, { frames: [500], text: 24, answer: 532 });
    const { dispatches } = await timing.collect();
    return ["audio", "prompt", "decode"].map(
      (stage) => dispatches.filter((dispatch) => stageOf(dispatch) === stage).length,
    );
  };
  expect(await counted(32)).toEqual([792, 333, 260]);
  expect(await counted()).toEqual([792, 335, 368]);
});
