import { runClips } from "../../src/decode/clip-work.js";
import { type CountedDevice, countingGpu } from "../../src/gpu/counting.js";
import type { Gpu } from "../../src/gpu/device.js";
import { type Kernel, type Overrides, loadKernel } from "../../src/gpu/kernel.js";
import { loadFunAsrNano } from "../../src/model/fun-asr-nano.js";
import { CountedTraining } from "../../src/train/counted.js";
import { countMemory, typicalBatch } from "../../src/train/plan.js";
import { sizeConfig } from "../../src/train/plan-sizes.js";
import { shapeSource } from "../../src/weights/shapes.js";
import { kernelFiles, kernelText } from "../../test/helpers/kernel-files.js";

/** A kernel as a device compiles it. */
export interface Listed {
  /** File, constants and overrides. */
  readonly name: string;
  readonly kernel: Kernel;
  readonly overrides: Overrides;
}

/** Values of the lines `// @set`, where they differ from the file's, and overrides. */
function nameOf(kernel: Kernel, overrides: Overrides): string {
  const lines = (text: string): string[] =>
    [...text.matchAll(/^const (\w+) = (\d+)u;\s*\/\/ @set/gm)].map(([, name, value]) => `${name}=${value}`);
  const usual = lines(kernelText(kernel.name));
  const set = lines(kernel.source).filter((line) => !line.startsWith("SG=") && !usual.includes(line));
  const rest = Object.entries(overrides).map(([name, value]) => `${name}=${Number(value)}`);
  return [kernel.name, ...set, ...rest].join(" ");
}

/** Collects what a device runs. */
function watch(gpu: Gpu, found: Map<string, Listed>): Gpu {
  const run = gpu.run.bind(gpu);
  gpu.run = (kernel, dispatch) => {
    const { overrides = {} } = dispatch;
    const name = nameOf(kernel, overrides);
    found.set(name, { name, kernel, overrides });
    run(kernel, dispatch);
  };
  return gpu;
}

/** Fun-ASR-Nano of 0.6B, with two layers of each kind: layers repeat the same kernels. */
function config(): ReturnType<typeof sizeConfig> {
  const { encoder, llm, ...rest } = sizeConfig("0.6B");
  return { ...rest, encoder: { ...encoder, layers: 2, tpLayers: 1 }, llm: { ...llm, layers: 2 } };
}

/** The kernels of one device: clips alone and together in every format, and trainings. */
async function listFor(device: CountedDevice, found: Map<string, Listed>): Promise<void> {
  const source = shapeSource(config());
  for (const weights of ["f32", "bf16", "f16", "q8", "q4"] as const) {
    const gpu = watch(countingGpu(device), found);
    const model = await loadFunAsrNano(gpu, config(), source, { weights });
    for (const clips of [1, 3, 8, 16]) {
      const frames = Array.from({ length: clips }, () => 60);
      await runClips(gpu, model, { frames, text: 24, answer: 8, steps: 2 });
    }
    model.free();
  }
  for (const tune of [
    ["encoder", "adaptor"],
    ["adaptor", "lora"],
  ] as const) {
    const training = await CountedTraining.load(watch(countingGpu(device), found), config(), source, {
      tune,
    });
    await countMemory(training, typicalBatch(1000));
  }
}

/**
 * Every pipeline of both families of kernels as a device has them, by name; a file that neither runs
 * is listed as it stands.
 */
export async function listPipelines(device: CountedDevice): Promise<Listed[]> {
  const found = new Map<string, Listed>();
  await listFor(device, found);
  await listFor({ ...device, subgroupSize: undefined }, found);
  const seen = new Set([...found.values()].map(({ kernel }) => kernel.name));
  for (const file of kernelFiles().filter((name) => !seen.has(name))) {
    const bySubgroup = /^const SG = /m.test(kernelText(file));
    if (bySubgroup && device.subgroupSize === undefined) continue;
    const kernel = loadKernel(file, bySubgroup ? { SG: device.subgroupSize! } : {});
    found.set(file, { name: file, kernel, overrides: {} });
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
