// Compares the counting device with this adapter at the published sizes, by hand: npm run
// check:counts -- [SIZE ...] [--family subgroups|portable] [--layers N]. Weights are zeros. Prints a
// row for each size, format, batch and family of kernels; exit code 1 where a dispatch, a submit or a
// byte differs. --layers keeps N layers of encoder and LLM at their real widths: 8B without subgroups
// takes hours else.
import { isDeepStrictEqual, parseArgs } from "node:util";
import type { ModelConfig } from "../src/config/model-config.js";
import { countedDevice, countingGpu } from "../src/gpu/counting.js";
import { Gpu } from "../src/gpu/device.js";
import type { WeightFormat } from "../src/gpu/matrix.js";
import { openDevice } from "../src/node/device.js";
import { restfulWait } from "../src/node/wait.js";
import { type Qwen3Size, qwen3Sizes, sizeConfig } from "../src/train/plan-sizes.js";
import type { ParameterSource } from "../src/weights/loader.js";
import { shapeSource } from "../src/weights/shapes.js";
import { type CountedRun, countRun } from "../test/helpers/counted-run.js";

const formats: Readonly<Record<Qwen3Size, readonly WeightFormat[]>> = {
  "0.6B": ["f32", "bf16", "f16", "q8", "q4"],
  "1.7B": ["bf16", "q8", "q4"],
  "4B": ["q8", "q4"],
  "8B": ["q4"], // others do not fit 24 GB
};
const batches: Readonly<Record<string, readonly number[]>> = { alone: [17], together: [5, 17, 8] };

/** A model of zeros. */
function zeroSource(shapes: ParameterSource): ParameterSource {
  return { ...shapes, read: (_entry, _at, length) => Promise.resolve(new Uint8Array(length)) };
}

function compare(counted: CountedRun, real: CountedRun): string {
  const differing = real.run.dispatches.filter(
    (dispatch, i) => !isDeepStrictEqual(dispatch, counted.run.dispatches[i]),
  ).length;
  const lengths = counted.run.dispatches.length - real.run.dispatches.length;
  const rest = [counted.run.submits - real.run.submits, counted.kept - real.kept, counted.peak - real.peak];
  return [differing, lengths, ...rest].every((n) => n === 0)
    ? "equal"
    : `${differing} dispatches differ, ${lengths} more; submits, kept, peak: ${rest.join(", ")} more`;
}

/** The sizes, families and layers that the command line asks for. */
function options(): { sizes: Qwen3Size[]; families: string[]; layers: number } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { family: { type: "string", multiple: true }, layers: { type: "string" } },
  });
  const families = values.family ?? ["subgroups", "portable"];
  const layers = Number(values.layers ?? Infinity);
  const wrong =
    positionals.find((size) => !qwen3Sizes.some((known) => known === size)) ??
    families.find((family) => family !== "subgroups" && family !== "portable") ??
    (layers >= 1 ? undefined : values.layers);
  if (wrong !== undefined)
    throw new Error(
      `check-counts: expected sizes of ${qwen3Sizes.join(", ")}, a family, a number of layers; got "${wrong}"`,
    );
  const sizes = qwen3Sizes.filter((size) => positionals.length === 0 || positionals.includes(size));
  return { sizes, families, layers };
}

/** A size with so many layers at most. */
function configOf(size: Qwen3Size, layers: number): ModelConfig {
  const { encoder, llm, ...rest } = sizeConfig(size);
  const most = (count: number): number => Math.min(count, layers);
  return {
    ...rest,
    encoder: { ...encoder, layers: most(encoder.layers), tpLayers: most(encoder.tpLayers) },
    llm: { ...llm, layers: most(llm.layers) },
  };
}

const { sizes, families, layers } = options();
let differs = 0;
for (const family of families) {
  const subgroups = family === "subgroups";
  const { gpu, adapter } = await openDevice({ timestamps: true, subgroups, quiet: true });
  console.log(`adapter: ${adapter.description}`);
  console.log(`${family}: size, format, batch, dispatches, kept, peak`);
  for (const size of sizes)
    for (const weights of formats[size])
      for (const [batch, frames] of Object.entries(batches)) {
        const config = configOf(size, layers);
        const shapes = shapeSource(config);
        const work = { frames, text: 24, answer: 8 };
        const fresh = new Gpu(gpu.device, { subgroupSize: gpu.subgroupSize, wait: restfulWait });
        const real = await countRun(fresh, { config, source: zeroSource(shapes), weights }, work);
        const device = countingGpu(countedDevice(fresh));
        fresh.trim();
        const verdict = compare(await countRun(device, { config, source: shapes, weights }, work), real);
        if (verdict !== "equal") differs++;
        const { run, kept, peak } = real;
        console.log([size, weights, batch, run.dispatches.length, kept, peak, verdict].join("  "));
      }
  gpu.destroy();
}
console.log(`${differs} rows differ`);
process.exitCode = differs > 0 ? 1 : 0;
