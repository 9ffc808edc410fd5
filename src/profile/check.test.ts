import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { type FunAsrNano, loadFunAsrNano } from "../model/fun-asr-nano.js";
import { demoModel } from "../node/demo.js";
import { modelDirectory } from "../node/files.js";
import { checkStages, compareStages, measureStages } from "./check.js";

// What is within 30 % and what is not; the stages of the demo as they are run, and what is left
// behind: nothing.
const gpu = useGpu();
let model: FunAsrNano;
beforeAll(async () => {
  const checkpoint = await openCheckpoint(modelDirectory(demoModel));
  model = await loadFunAsrNano(gpu(), checkpoint.config, checkpoint).finally(() => checkpoint.close());
});
afterAll(() => model.free());

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
