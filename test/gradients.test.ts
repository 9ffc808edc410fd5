import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { elementCount } from "../src/gpu/tensor.js";
import type { Projection } from "../src/kernels/linear/linear.js";
import { type FunAsrNano, loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import type { WeightFormat } from "../src/weights/loader.js";
import { openFile } from "../src/node/files.js";
import { type TrainingBatch, answerLosses, recordGradients } from "../src/train/forward.js";
import { mergedRows } from "../src/checkpoint/lora/merge.js";
import { type LoraOptions, withLora } from "../src/train/lora.js";
import { type TunablePart, isTuned } from "../src/train/tune.js";
import { type Bundle, bundleConfig, generatedParameters, openBundle } from "../src/verify/bundle.js";
import { readBatch } from "../src/verify/train.js";
import { expectClose, relativeRms, useGpu } from "./gpu.js";

// Whole-model gradients beside the goldens (test/golden.test.ts holds those): the same bits again,
// from cached encoder states and in any score budget; a packed batch is the sum of its clips;
// frozen weights in each storage; memory of what is tuned, and flat over steps; LoRA begins as
// nothing, merges, drops by seed.
const gpu = useGpu();
let bundle: Bundle;
let batch: TrainingBatch;

beforeAll(async () => {
  const path = fileURLToPath(new URL("../golden/bundles/train-adaptor-narrow.safetensors", import.meta.url));
  bundle = await openBundle(await openFile(path));
  batch = await readBatch(bundle, bundleConfig(bundle).audioTokenId);
});

const load = (parts: readonly TunablePart[], weights: WeightFormat = "f32"): Promise<FunAsrNano> =>
  loadFunAsrNano(gpu(), bundleConfig(bundle), generatedParameters(bundleConfig(bundle), 503), {
    weights,
    tune: isTuned(parts),
  });

interface Pass {
  readonly losses: Float32Array;
  readonly gradients: readonly Float32Array[];
}

/** Losses and gradients of one pass; the gradients are cleared before it. */
async function pass(
  model: FunAsrNano,
  over: TrainingBatch = batch,
  options: { scoreBytes?: number; seed?: number; denominator?: number } = {},
): Promise<Pass> {
  const [losses, ...gradients] = await gpu().step(() => {
    for (const { gradient } of model.trainables) gpu().clear(gradient);
    const made = recordGradients(gpu(), model, over, { denominator: 13, ...options });
    return [made, ...model.trainables.map(({ gradient }) => gradient)];
  });
  return { losses: losses as Float32Array, gradients: gradients as Float32Array[] };
}

/** One clip of a batch. */
function clip(whole: TrainingBatch, index: number): TrainingBatch {
  const { features } = whole.audio as { features: Float32Array };
  const width = features.length / whole.frames.reduce((a, b) => a + b, 0);
  const start = whole.frames.slice(0, index).reduce((a, b) => a + b, 0) * width;
  return {
    audio: { features: features.slice(start, start + whole.frames[index] * width) },
    frames: [whole.frames[index]],
    prompts: [whole.prompts[index]],
    answers: [whole.answers[index]],
  };
}

const bitsOf = ({ losses, gradients }: Pass): Buffer[] =>
  [losses, ...gradients].map((data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
const flat = (arrays: readonly Float32Array[]): number[] => arrays.flatMap((array) => [...array]);

describe("the same bits", () => {
  test("again, and in any score budget", async () => {
    const model = withLora(gpu(), await load(["adaptor", "encoder"]));
    const first = await pass(model);
    expect(bitsOf(await pass(model))).toEqual(bitsOf(first));
    expect(bitsOf(await pass(model, batch, { scoreBytes: 4 * 320 * 3 }))).toEqual(bitsOf(first));
    const [validation] = await gpu().step(() => [answerLosses(gpu(), model, batch)]);
    expect(validation).toEqual(first.losses);
    model.free();
  });

  test("from encoder states that were computed before", async () => {
    const model = await load(["adaptor"]);
    const want = await pass(model);
    const reads: Promise<unknown>[] = [];
    await gpu().step(() => {
      answerLosses(gpu(), model, batch, {
        tap: (stage, tensor) => {
          if (stage === "encoder.output") reads.push(gpu().read(tensor));
        },
      });
      return [];
    });
    const [states] = (await Promise.all(reads)) as Float32Array[];
    expect(bitsOf(await pass(model, { ...batch, audio: { states } }))).toEqual(bitsOf(want));
    model.free();
  });

  test("with frozen weights stored as bf16, which these are", async () => {
    const [wide, narrow] = [await load(["adaptor"]), await load(["adaptor"], "bf16")];
    expect(bitsOf(await pass(narrow))).toEqual(bitsOf(await pass(wide)));
    for (const model of [wide, narrow]) model.free();
  });
});

test("a packed batch is the sum of its clips", async () => {
  const model = withLora(gpu(), await load(["adaptor", "encoder"]));
  const whole = await pass(model);
  const parts = [await pass(model, clip(batch, 0)), await pass(model, clip(batch, 1))];
  expect(flat(parts.map(({ losses }) => losses))).toEqual([...whole.losses]);
  const sums = whole.gradients.map((gradient, i) =>
    gradient.map((_, at) => parts[0].gradients[i][at] + parts[1].gradients[i][at]),
  );
  expectClose(flat(sums), flat(whole.gradients), 1e-6);
  model.free();
});

test("frozen weights in q8 and q4 give nearly the same gradient", async () => {
  const exact = await load(["adaptor"]);
  const want = await pass(exact);
  exact.free();
  for (const [format, bound] of [
    ["q8", 0.05],
    ["q4", 0.5],
  ] as const) {
    // prettier-ignore
    const model = await load(["adaptor"], format);
    const error = relativeRms(flat((await pass(model)).gradients), flat(want.gradients));
    expect(error).toBeGreaterThan(1e-4);
    expect(error).toBeLessThan(bound);
    model.free();
  }
});

describe("memory", () => {
  test.each<[TunablePart[], number]>([
    [["adaptor"], 0],
    [["encoder"], 0],
    [["adaptor", "encoder"], 16],
    [["lora"], 16],
  ])("tuning %j keeps a gradient for each tuned value and for no other", async (parts, rank) => {
    const frozen = await load([]);
    const before = gpu().bytes.kept;
    frozen.free();
    const base = await load(parts);
    const model = rank > 0 ? withLora(gpu(), base, { rank }) : base;
    const count = (list: FunAsrNano["trainables"]): number =>
      list.reduce((sum, { value }) => sum + elementCount(value.shape), 0);
    const added = count(model.trainables.slice(base.trainables.length));
    expect(gpu().bytes.kept - before).toBe(4 * count(model.trainables) + 4 * added);
    model.free();
    expect(gpu().bytes.kept).toBe(0);
  });

  test("is flat over 30 steps, with nothing live between them", async () => {
    const model = withLora(gpu(), await load(["adaptor", "encoder"]));
    const step = async (): Promise<unknown> => {
      await pass(model);
      return gpu().bytes;
    };
    await step();
    const first = await step();
    expect(first).toMatchObject({ live: 0 });
    const { bindGroups, pipelines } = gpu().counts;
    for (let i = 0; i < 28; i++) expect(await step()).toEqual(first);
    expect(gpu().counts).toMatchObject({ bindGroups, pipelines });
    model.free();
  });

  test("a frozen encoder leaves nothing for the backward pass, a tuned one does", async () => {
    const run = async (parts: TunablePart[], recording: boolean): Promise<number> => {
      const model = await load(parts);
      let live = 0;
      const tap = (stage: string): void => {
        if (stage === "encoder.output") live = gpu().bytes.live;
      };
      await gpu().step(() => {
        if (recording) recordGradients(gpu(), model, batch, { denominator: 13, tap });
        else answerLosses(gpu(), model, batch, { tap });
        return [];
      });
      model.free();
      return live;
    };
    const without = await run([], false);
    expect(await run(["adaptor"], true)).toBe(without);
    expect(await run(["encoder"], true)).toBeGreaterThan(3 * without);
  });
});

describe("LoRA", () => {
  const lora = async (options: LoraOptions = {}): Promise<FunAsrNano> =>
    withLora(gpu(), await load(["lora"]), options);

  test("begins as nothing: B is zero, so A has no gradient and the losses are the base model's bits", async () => {
    const [base, model] = [await load([]), await lora()];
    const [want] = await gpu().step(() => [answerLosses(gpu(), base, batch)]);
    const { losses, gradients } = await pass(model);
    expect([...losses]).toEqual([...want]);
    for (const [i, { name }] of model.trainables.entries()) {
      const zero = gradients[i].every((value) => value === 0);
      expect([name, zero]).toEqual([name, name.includes("lora_A")]);
    }
    for (const each of [base, model]) each.free();
  });

  test("A is uniform within 1 / sqrt(in), by seed", async () => {
    const read = async (seed: number): Promise<Float32Array> => {
      const model = await lora({ seed, rank: 32, targets: ["down_proj"] });
      const [a] = await gpu().step(() => [model.trainables[0].value]);
      model.free();
      return a as Float32Array;
    };
    const bound = bundleConfig(bundle).llm.intermediateSize ** -0.5;
    const a = await read(1);
    expect(Math.max(...a.map(Math.abs)) / bound).toBeGreaterThan(0.99);
    expect(Math.max(...a.map(Math.abs))).toBeLessThanOrEqual(bound);
    expect(Math.sqrt(a.reduce((sum, x) => sum + x * x, 0) / a.length) / bound).toBeCloseTo(3 ** -0.5, 1);
    expect(await read(1)).toEqual(a);
    expect(await read(2)).not.toEqual(a);
  });

  test("merged into the weights it gives the same losses", async () => {
    const model = await lora({ rank: 8, alpha: 4, targets: ["q_proj", "up_proj"] });
    for (const { value, name } of model.trainables.filter((trained) => trained.name.includes("lora_B")))
      gpu().write(
        value,
        Float32Array.from({ length: elementCount(value.shape) }, (_, i) => Math.sin(i + name.length) / 8),
      );
    const [want] = await gpu().step(() => [answerLosses(gpu(), model, batch)]);
    for (const layer of model.llm.layers) {
      for (const w of [layer.qkvProj[0], layer.gateUpProj[1]]) {
        const of = (matrix: typeof w): (typeof w.pieces)[0]["tensor"] => matrix.pieces[0].tensor;
        const [values, a, b] = await gpu().step(() => [of(w), of(w.lora!.a), of(w.lora!.b)]);
        const factors = { a: a as Float32Array, b: b as Float32Array, rank: 8, scale: 0.5 };
        gpu().write(of(w), mergedRows(values as Float32Array, 0, factors));
      }
    }
    const plain = (matrix: Projection): Projection => ({ ...matrix, lora: undefined });
    const layers = model.llm.layers.map((layer) => ({
      ...layer,
      qkvProj: layer.qkvProj.map(plain),
      gateUpProj: layer.gateUpProj.map(plain),
    }));
    const bare = { ...model, llm: { ...model.llm, layers } };
    const [got] = await gpu().step(() => [answerLosses(gpu(), bare, batch)]);
    expectClose(got, want, 1e-6);
    const base = await load([]);
    const [without] = await gpu().step(() => [answerLosses(gpu(), base, batch)]);
    expect(relativeRms(without, want)).toBeGreaterThan(1e-3);
    for (const each of [base, model]) each.free();
  });

  test("drops by seed while a tape records, and never otherwise", async () => {
    const model = await lora({ dropout: 0.5 });
    for (const { value } of model.trainables.filter(({ name }) => name.includes("lora_B")))
      gpu().write(value, new Float32Array(elementCount(value.shape)).fill(0.1));
    const first = await pass(model, batch, { seed: 1 });
    expect(bitsOf(await pass(model, batch, { seed: 1 }))).toEqual(bitsOf(first));
    expect((await pass(model, batch, { seed: 2 })).losses).not.toEqual(first.losses);
    const validate = (): Promise<unknown> => gpu().step(() => [answerLosses(gpu(), model, batch)]);
    expect(await validate()).toEqual(await validate());
    model.free();
  });

  test("on matrices that are loaded joined, whose gradient would end, is refused", async () => {
    const { config, parameters } = {
      config: bundleConfig(bundle),
      parameters: generatedParameters(bundleConfig(bundle), 503),
    };
    const joined = await loadFunAsrNano(gpu(), config, parameters);
    expect(() => withLora(gpu(), joined)).toThrow("LoRA: q_proj must be loaded by itself");
    const model = withLora(gpu(), joined, { targets: ["o_proj"] }); // a matrix of its own
    await expect(pass(model)).rejects.toThrow("no gradient passes this op; load the model with tune");
    expect(gpu().bytes.live).toBe(0);
    model.free();
  });

  test.each<[LoraOptions, string]>([
    [{ rank: 2.5 }, "LoRA: expected a rank that is a whole number from 1, got 2.5"],
    [{ rank: 0 }, "LoRA: expected a rank that is a whole number from 1, got 0"],
    [{ dropout: 1 }, "LoRA: expected a dropout from 0 up to 1, got 1"],
  ])("%j is refused", async (options, message) => {
    const base = await load([]);
    expect(() => withLora(gpu(), base, options)).toThrow(message);
    base.free();
  });
});

test("batches that do not fit together are refused", async () => {
  const model = await load(["adaptor"]);
  const refused = async (over: TrainingBatch, message: string): Promise<void> =>
    expect(pass(model, over)).rejects.toThrow(message);
  await refused({ ...batch, answers: [[1]] }, "batch: answers must be 2, got 1");
  await refused({ ...batch, answers: [[1], []] }, "batch: answer 1 must have at least 1 token, got none");
  await refused({ ...batch, answers: [[1], [99_999]] }, "crossEntropy: labels must lie below");
  expect(gpu().bytes.live).toBe(0);
  expect(gpu().tape).toBeUndefined();
  model.free();
});
