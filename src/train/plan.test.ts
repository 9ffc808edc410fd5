import { describe, expect, test } from "vitest";
import { realConfig } from "../../test/helpers/checkpoint.js";
import { bucketBytes } from "../gpu/arena.js";
import { expectedTensors } from "../config/expected-tensors.js";
import {
  type PlanOptions,
  alignmentWork,
  hourOfAudio,
  hourSeconds,
  hourWork,
  trainedParameters,
  trainingMemory,
  typicalBatch,
} from "./plan.js";
import type { LoraTarget } from "./lora.js";
import { qwen3Sizes, sizeConfig } from "./plan-sizes.js";

// Sizes as the tests' own; parameters and the FLOPs of the linears against a sum over every tensor of the checkpoint; memory by
// format and by part; the slower of arithmetic and memory decides the time.
const plan: PlanOptions = { tune: ["adaptor"], weights: "bf16", batch: typicalBatch(2048) };
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

  test("trained parameters are those of the tensors", () => {
    const of = (prefix: string): number => elements(size, (name) => name.startsWith(prefix));
    expect(trainedParameters(config, ["adaptor"])).toBe(of(adaptor));
    expect(trainedParameters(config, ["encoder", "adaptor"])).toBe(of(encoder) + of(adaptor));
  });

  test("FLOPs: 2 a weight and row for each pass that it takes part in", () => {
    const frames = 3600 * hourOfAudio.framesPerSecond;
    const clips = 3600 / hourOfAudio.clipSeconds;
    const answers = 3600 * hourOfAudio.answerRate;
    const tokens = frames + answers + clips * hourOfAudio.promptTokens;
    const matrices = (choose: (name: string) => boolean): number =>
      elements(size, (name, rank) => rank === 2 && choose(name));
    const head = config.llm.vocabSize * config.llm.hiddenSize;
    const last = new RegExp(
      String.raw`language_model.layers.${config.llm.layers - 1}.(self_attn.o_proj|mlp)`,
    );
    const linears =
      6 * frames * matrices((name) => name.startsWith(adaptor)) +
      4 * tokens * matrices((name) => name.includes("language_model.layers") && !last.test(name)) +
      4 * answers * matrices((name) => last.test(name)) +
      4 * answers * head;
    const { flops, encoderFlops } = hourWork(config, plan);
    expect(flops / linears).toBeGreaterThan(1);
    expect(flops / linears).toBeLessThan(1.1); // attention over clips of 6 s
    const rows = 2 * frames * matrices((name) => name.startsWith(encoder));
    expect(encoderFlops / rows).toBeGreaterThan(1);
    expect(encoderFlops / rows).toBeLessThan(1.1);
    expect(hourWork(config, { ...plan, tune: ["adaptor", "encoder"] }).encoderFlops).toBe(0); // never cached
  });

  test("FLOPs of an alignment: the adaptor's forward pass twice, its backward pass, nothing of the LLM", () => {
    const frames = 3600 * hourOfAudio.framesPerSecond;
    const linears = 8 * frames * elements(size, (name, rank) => rank === 2 && name.startsWith(adaptor));
    const { flops, encoderFlops } = alignmentWork(config, plan);
    expect(flops / linears).toBeGreaterThan(1);
    expect(flops / linears).toBeLessThan(1.1);
    expect(encoderFlops / hourWork(config, plan).encoderFlops).toBeCloseTo(1, 12);
  });

  test("memory: 16 bytes a trained parameter, frozen weights by their format, activations by the tokens", () => {
    const memory = trainingMemory(config, plan);
    expect(memory.trained).toBe(16 * trainedParameters(config, ["adaptor"]));
    const frozen = (matrix: boolean): number =>
      elements(size, (name, rank) => !name.startsWith(adaptor) && (rank === 2) === matrix);
    const tied = config.llm.tiedHead ? elements(size, (name) => name === "lm_head.weight") : 0;
    expect(memory.frozenWeights).toBe(2 * (frozen(true) - tied) + 4 * frozen(false));
    const { total, ...parts } = memory;
    expect(total).toBe(Object.values(parts).reduce((a, b) => a + b, 0));
    const q4 = trainingMemory(config, { ...plan, weights: "q4" });
    expect(q4.frozenWeights / memory.frozenWeights).toBeGreaterThan(4.5 / 16);
    expect(q4.frozenWeights / memory.frozenWeights).toBeLessThan(4.7 / 16); // norms stay f32, the stem's rows are no whole blocks
    const twice = trainingMemory(config, { ...plan, batch: typicalBatch(4096) });
    expect(twice.activations / memory.activations).toBeCloseTo(2, 1);
  });
});

test("transposed weights: one buffer of each size, of two bytes a weight where it has them, else of four", () => {
  const config = sizeConfig("0.6B");
  const { hiddenSize: d, intermediateSize: f, vocabSize, heads, headDim } = config.llm;
  const of = (change: Partial<PlanOptions>): number =>
    trainingMemory(config, { ...plan, ...change }).transposed;
  const sizes = (bytes: number): number[] => [d * heads * headDim, d * d, d * f].map((n) => bytes * n);
  const added = (numbers: number[]): number => [...new Set(numbers)].reduce((a, b) => a + b, 0);
  const head = (bytes: number): number => bucketBytes(bytes * d * vocabSize);
  const limit = { transposeLimit: 1 << 27 }; // the head has more in any format
  expect(of({ tune: ["lora"], weights: "bf16", ...limit })).toBe(added(sizes(2)));
  expect(of({ tune: ["lora"], weights: "q4", ...limit })).toBe(added(sizes(4)));
  expect(of({ tune: ["lora"], weights: "q4" })).toBe(added(sizes(4)) + head(4));
  expect(of({ transposeLimit: 0 })).toBe(0);
  const align = { tokens: 0, answerTokens: 0, frames: 100, contrasted: 9 };
  const adaptors = [d * 2048, d * d, d * (d / 4)].map((n) => 4 * n); // f32, as it is trained
  expect(of({ batch: align })).toBe(added(adaptors));
});

test("the slower of arithmetic and memory decides", () => {
  const work = { flops: 1000, encoderFlops: 500, bytes: 100 };
  expect(hourSeconds(work, { name: "", flops: 10, bandwidth: 100 })).toEqual({ first: 150, later: 100 });
  expect(hourSeconds(work, { name: "", flops: 1e9, bandwidth: 10 })).toEqual({ first: 10, later: 10 });
});

test("a LoRA's targets count: rank · (inputs + outputs) a layer each", () => {
  const config = sizeConfig("0.6B");
  const { layers, hiddenSize: d, intermediateSize: f } = config.llm;
  const of = (...targets: LoraTarget[]): number => trainedParameters(config, ["lora"], 8, targets);
  expect(of("up_proj", "down_proj")).toBe(layers * 8 * 2 * (d + f));
  expect(of("q_proj", "v_proj")).toBe(trainedParameters(config, ["lora"], 8));
});
