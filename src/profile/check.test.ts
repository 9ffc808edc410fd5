import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { greedy } from "../decode/greedy.js";
import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { type FunAsrNano, adapt, encode, loadFunAsrNano } from "../model/fun-asr-nano.js";
import { demoModel } from "../node/demo.js";
import { modelDirectory } from "../node/files.js";
import { checkStages, compareStages, measureStages } from "./check.js";
import { audioWork, dispatches, promptLength, promptWork, tokenWork } from "./predict.js";

// The dispatches that the formula counts for a clip are the engine's, stage by stage; what is within 30 % and what is not; the stages
// of the demo as they are run, and what is left behind: nothing.
const gpu = useGpu();
let model: FunAsrNano;
beforeAll(async () => {
  const checkpoint = await openCheckpoint(modelDirectory(demoModel));
  model = await loadFunAsrNano(gpu(), checkpoint.config, checkpoint).finally(() => checkpoint.close());
});
afterAll(() => model.free());

/** Dispatches while something runs. */
async function counted(g: Gpu, body: () => Promise<unknown>): Promise<number> {
  const before = g.counts.dispatches;
  await body();
  return g.counts.dispatches - before;
}

test("dispatches of encoder and adaptor, of the prompt, of a token", async () => {
  const g = gpu();
  const seconds = 1.2;
  const frames = 20;
  const { config } = model;
  const features = new Float32Array(frames * config.encoder.inputSize).fill(0.1);
  let audio: Tensor | undefined;
  const made = await counted(g, () =>
    g.step(() => {
      audio = g.hold(
        g.scope(() => adapt(g, model, encode(g, model, { features, frames: [frames] }), [frames])),
      );
      return [];
    }),
  );
  expect(made).toBe(dispatches(audioWork(config, "bf16", seconds)));
  const length = promptLength(seconds);
  const prompt = { ids: Array.from({ length }, () => 1), audioOffset: 3, audioLength: frames };
  const run = (tokens: number) => (): Promise<unknown> => {
    const options = { stopIds: new Set<number>(), maxNewTokens: [tokens], guardLoops: false };
    return greedy(g, model, [prompt], audio!, options);
  };
  const [one, two, three] = [await counted(g, run(1)), await counted(g, run(2)), await counted(g, run(3))];
  g.release(audio!);
  expect(one).toBe(dispatches(promptWork(config.llm, "bf16", length)));
  expect(two - one).toBe(dispatches(tokenWork(config.llm, "bf16", length + 1)));
  expect(three - two).toBe(two - one);
});

describe("compareStages", () => {
  const measured = { audio: [1, 2, 9], prompt: [4, 4, 4], token: [0.1, 0.1, 0.1] };

  test("the formula over the middle; 30 % of the smaller of the two is the most", () => {
    const stages = compareStages({ audio: 2.6, prompt: 3.07, token: 0.131 }, measured);
    expect(stages.map(({ stage, within }) => [stage, within])).toEqual([
      ["audio", true],
      ["prompt", false],
      ["token", false],
    ]);
    expect(stages[0]).toMatchObject({ predicted: 2.6, ratio: 1.3, measured: { min: 1, median: 2, max: 9 } });
  });
});

test("the demo: every stage has its times and is predicted from what was measured beside it", async () => {
  const g = gpu();
  const kept = g.bytes.kept;
  let called = 0;
  const sizes = { seconds: 0.6, tokens: 3 };
  const times = await measureStages(g, model, sizes, () => {
    called++;
    return Promise.resolve();
  });
  for (const list of Object.values(times)) {
    expect(list).toHaveLength(called);
    expect(Math.min(...list)).toBeGreaterThan(0);
  }
  const { adapter, shares, stages } = await checkStages(g, model, sizes, { name: "here", weights: "bf16" });
  expect(adapter.name).toBe("here");
  const { calls, ...rest } = shares;
  for (const value of Object.values(rest)) expect(value).toBeGreaterThan(0);
  for (const value of Object.values(calls!)) expect(value).toBeGreaterThanOrEqual(0);
  expect(stages.map(({ stage }) => stage)).toEqual(["audio", "prompt", "token"]);
  for (const { predicted, measured, ratio } of stages) expect(ratio).toBe(predicted / measured.median);
  expect(g.bytes.kept).toBe(kept);
});
