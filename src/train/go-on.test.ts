import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { useTraining } from "../../test/helpers/training-runs.js";
import { Transcriber } from "../decode/transcriber.js";
import { characterErrorRate } from "../evaluate/metrics/cer.js";
import { decodeAudio } from "../frontend/decode.js";
import { modelFiles } from "../node/model-files.js";
import { learningRate } from "./schedule.js";

const gpu = useGpu();
const { directory, run } = useTraining(gpu);

// Plan: on a checkpoint whose answers do not end by themselves, a validation has the error rate of
// the same clips transcribed.
test("validation cuts and scores answers as evaluate does", async () => {
  const { data, path } = directory();
  const { validations } = await run({
    validation: data,
    options: { steps: 1, learningRate: 0, every: 1, decode: 100 },
  });
  const transcriber = await Transcriber.load(gpu(), modelFiles(join(path, "model")));
  const heard = [];
  for (const { audio, text } of data.utterances) {
    const clip = transcriber.prepare(await decodeAudio(new Uint8Array(readFileSync(audio)), audio), audio);
    const [answer] = await transcriber.transcribe([clip]);
    heard.push({ ...answer, reference: text, limit: 32 + clip.frames });
  }
  transcriber.free();
  const running = heard.filter(({ finish }) => finish !== "stop");
  expect(running.length).toBeGreaterThan(0);
  const { rate } = characterErrorRate(heard.map(({ reference, text }) => [reference, text]));
  expect(validations[0].validation.cer).toBe(rate);
});

// Plan: 10 steps, then 20: the rates from step 10 on are those of 20 steps, the warm-up is the
// first run's; fewer steps, or another rate, are refused.
describe("a run that goes on past its steps", () => {
  const options = { steps: 10, warmup: undefined, schedule: "cosine", batchTokens: 160 } as const;
  const peak = 3e-3;

  test("10 steps, then 20", async () => {
    const out = join(directory().path, "longer");
    expect((await run({ out, options })).steps).toHaveLength(10);
    const { steps } = await run({ out, options: { ...options, steps: 20 } }, { resume: true });
    expect(steps.map(({ step }) => step)).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
    const schedule = { peak, warmup: 1, total: 20, shape: "cosine", floor: 0 } as const;
    expect(steps.map((step) => step.learningRate)).toEqual(
      steps.map(({ step }) => learningRate(schedule, step - 1)),
    );
    const fewer = run({ out, options: { ...options, steps: 15 } }, { resume: true });
    await expect(fewer).rejects.toThrow(/: --steps: expected 20 or more as in the run, got 15/);
    const other = run({ out, options: { ...options, steps: 30, learningRate: 1e-3 } }, { resume: true });
    await expect(other).rejects.toThrow(/: --lr: expected 0.003 as in the run, got 0.001/);
    const warmer = run({ out, options: { ...options, steps: 30, warmup: 3 } }, { resume: true });
    await expect(warmer).rejects.toThrow(/: --warmup: expected 1 as in the run, got 3/);
  });
});
