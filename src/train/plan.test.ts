import { beforeAll, describe, expect, test } from "vitest";
import { realConfig } from "../../test/helpers/checkpoint.js";
import { expectedTensors } from "../config/expected-tensors.js";
import { usualDevice } from "../profile/predict.js";
import {
  type PlanOptions,
  type TrainingPlan,
  hourOfAudio,
  hourSeconds,
  planTraining,
  typicalBatch,
} from "./plan.js";
import type { LoraTarget } from "./lora.js";
import { qwen3Sizes, sizeConfig } from "./plan-sizes.js";

// Sizes as the tests' own; parameters, FLOPs of the linears and frozen bytes of what is counted
// against sums over every tensor of the checkpoint; memory by format, batch and limits; the slower
// of arithmetic and memory decides the time.
const plan: PlanOptions = { tune: ["adaptor"], weights: "bf16", batchTokens: 2048, device: usualDevice };
const adaptor = "model.multi_modal_projector.";
const encoder = "model.audio_tower.";

test.each(qwen3Sizes)("%s has the sizes of the release", (size) => {
  expect(sizeConfig(size)).toEqual(realConfig(size));
});

/** Elements of the tensors that `choose` takes. */
function elements(
  size: (typeof qwen3Sizes)[number],
  choose: (name: string, rank: number) => boolean,
): number {
  let count = 0;
  for (const [name, shape] of expectedTensors(sizeConfig(size)))
    if (choose(name, shape.length)) count += shape.reduce((a, b) => a * b, 1);
  return count;
}

describe.each(qwen3Sizes)("%s", (size) => {
  const config = sizeConfig(size);
  let counted: TrainingPlan;
  beforeAll(async () => {
    counted = await planTraining(config, { ...plan, aligned: true });
  });
  const matrices = (choose: (name: string) => boolean): number =>
    elements(size, (name, rank) => rank === 2 && choose(name));
  const frames = 3600 * hourOfAudio.framesPerSecond;

  test("trained parameters are those of the tensors", () => {
    expect(counted.trainedParameters).toBe(elements(size, (name) => name.startsWith(adaptor)));
  });

  test("FLOPs: 2 a weight and row for each pass that it takes part in", () => {
    const clips = 3600 / hourOfAudio.clipSeconds;
    const answers = 3600 * hourOfAudio.answerRate;
    const tokens = frames + answers + clips * hourOfAudio.promptTokens;
    const head = config.llm.vocabSize * config.llm.hiddenSize;
    const last = new RegExp(
      String.raw`language_model.layers.${config.llm.layers - 1}.(self_attn.o_proj|mlp)`,
    );
    const linears =
      6 * frames * matrices((name) => name.startsWith(adaptor)) +
      4 * tokens * matrices((name) => name.includes("language_model.layers") && !last.test(name)) +
      4 * answers * matrices((name) => last.test(name)) +
      4 * answers * head;
    const { flops, encoderFlops } = counted.work;
    expect(flops / linears).toBeGreaterThan(1);
    expect(flops / linears).toBeLessThan(1.1); // attention over clips of 6 s
    const rows = 2 * frames * matrices((name) => name.startsWith(encoder));
    expect(encoderFlops / rows).toBeGreaterThan(1);
    expect(encoderFlops / rows).toBeLessThan(1.1);
  });

  test("FLOPs of an alignment: the adaptor's forward pass twice, its backward pass, nothing of the LLM", () => {
    const linears = 8 * frames * matrices((name) => name.startsWith(adaptor));
    const { flops, encoderFlops } = counted.alignment!;
    expect(flops / linears).toBeGreaterThan(0.95); // the first linear has no gradient of its input
    expect(flops / linears).toBeLessThan(1.15); // products with the words
    expect(encoderFlops / counted.work.encoderFlops).toBeCloseTo(1, 2);
  });

  test("memory: 16 bytes a trained parameter, frozen weights by their format, activations by the tokens", async () => {
    const { memory, trainedParameters } = counted;
    expect(memory.trained).toBe(16 * trainedParameters);
    const frozen = (matrix: boolean): number =>
      elements(size, (name, rank) => !name.startsWith(adaptor) && (rank === 2) === matrix);
    expect(memory.frozenWeights).toBe(2 * frozen(true) + 4 * frozen(false));
    const { total, ...parts } = memory;
    expect(total).toBe(Object.values(parts).reduce((a, b) => a + b, 0));
    expect(Math.min(...Object.values(parts))).toBeGreaterThan(0);
    const q4 = (await planTraining(config, { ...plan, weights: "q4", batchTokens: 4096 })).memory;
    expect(q4.frozenWeights / memory.frozenWeights).toBeGreaterThan(4.5 / 16);
    expect(q4.frozenWeights / memory.frozenWeights).toBeLessThan(4.7 / 16); // norms stay f32, the stem's rows are no whole blocks
    expect(q4.activations / memory.activations).toBeCloseTo(2, 1);
  });
});

test.each([1, 30, 147, 148, 200, 2048, 5000])("a micro-batch of %d tokens is filled", (tokens) => {
  const { clips } = typicalBatch(tokens);
  const taken = clips.reduce((sum, { frames, text, answer }) => sum + frames + text + answer, 0);
  if (tokens < 26) expect(clips).toHaveLength(1);
  else {
    expect(taken).toBeLessThanOrEqual(tokens);
    expect(taken).toBeGreaterThan(tokens - 26);
  }
});

test("transposed weights: none without subgroups; the head's only where the device binds it at once", async () => {
  const config = sizeConfig("0.6B");
  const of = async (device: PlanOptions["device"]): Promise<number> =>
    (await planTraining(config, { ...plan, tune: ["lora"], device })).memory.transposed;
  const head = 2 * config.llm.vocabSize * config.llm.hiddenSize;
  const [least, large] = [await of({ subgroupSize: 32 }), await of(usualDevice)];
  expect(await of({})).toBe(0);
  expect(least).toBeGreaterThan(0);
  expect(large - least).toBeGreaterThanOrEqual(head);
  expect(large - least).toBeLessThan(1.25 * head);
});

test("a tuned encoder is never cached: its FLOPs are the training's", async () => {
  const { work, trainedParameters } = await planTraining(sizeConfig("0.6B"), {
    ...plan,
    tune: ["adaptor", "encoder"],
  });
  expect(work.encoderFlops).toBe(0);
  expect(trainedParameters).toBe(
    elements("0.6B", (name) => name.startsWith(adaptor) || name.startsWith(encoder)),
  );
});

test("the slower of arithmetic and memory decides", () => {
  const work = { flops: 1000, encoderFlops: 500, bytes: 100 };
  expect(hourSeconds(work, { name: "", flops: 10, bandwidth: 100 })).toEqual({ first: 150, later: 100 });
  expect(hourSeconds(work, { name: "", flops: 1e9, bandwidth: 10 })).toEqual({ first: 10, later: 10 });
});

test("a LoRA's targets count: rank · (inputs + outputs) a layer each, without what fills up the rank", async () => {
  const config = sizeConfig("0.6B");
  const { layers, hiddenSize: d, intermediateSize: f } = config.llm;
  const of = async (rank: number, targets?: LoraTarget[]): Promise<number> =>
    (await planTraining(config, { ...plan, tune: ["lora"], lora: { rank, targets } })).trainedParameters;
  expect(await of(6, ["up_proj", "down_proj"])).toBeCloseTo(layers * 6 * 2 * (d + f), 3);
  expect(await of(8)).toBe(await of(8, ["q_proj", "v_proj"]));
});
