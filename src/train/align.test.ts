import { join } from "node:path";
import { expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { plannedBytes, useTraining } from "../../test/helpers/training-runs.js";
import { train } from "./loop.js";
import { type StepMetrics, isValidation, readMetrics } from "./metrics.js";
import { openSession, runFiles } from "./session.js";
import { stagesOf } from "./stages.js";

// Runs that begin with an alignment, on a tiny checkpoint: its loss falls, and the cross-entropy
// follows as if it began there; a run that was stopped on either side of the boundary goes on to
// the same bits; accumulation, memory, skipped clips, refusals.
const gpu = useGpu();
const { directory, setup, run } = useTraining(gpu);

const stepsOf = async (...how: Parameters<typeof run>): Promise<StepMetrics[]> => (await run(...how)).steps;

test.each([[["adaptor"]], [["adaptor", "lora", "encoder"]]] as const)(
  "%j: alignment, without the LLM, lowers its own loss; then comes the cross-entropy with moments of its own",
  async (tune) => {
    const options = { steps: 14, align: 12, alignRate: 3e-3, batchTokens: 1000 };
    const steps = await stepsOf({ tune, options });
    expect(steps.map(({ aligned }) => aligned === true)).toEqual(steps.map(({ step }) => step <= 12));
    expect(steps[11].loss).toBeLessThan(0.8 * steps[0].loss);
    expect(steps[12].answerTokens).not.toBe(steps[11].answerTokens);
    expect(steps.map(({ learningRate }) => learningRate)).toEqual(steps.map(() => 3e-3));
  },
);

test("a LoRA is as it was after an alignment, which does not pass it", async () => {
  const options = { steps: 3, align: 3, batchTokens: 1000, decay: 1 };
  const session = await openSession(gpu(), setup({ tune: ["adaptor", "lora"], options }));
  const of = async (part: string): Promise<unknown> => {
    const found = session.run.model.trainables.filter(({ name }) => name.includes(part));
    return gpu().step(() => found.map(({ value }) => value));
  };
  const [lora, adaptor] = [await of(".lora_A"), await of("linear_1")];
  await train(session.run, false);
  expect(await of(".lora_A")).toEqual(lora);
  expect(await of("linear_1")).not.toEqual(adaptor);
  session.free();
});

test("a step in micro-batches is the step in one batch, where each has all the words", async () => {
  const [one] = directory().data.utterances;
  const utterances = directory().data.utterances.map((other, i) => ({
    ...other,
    text: i < 2 ? "" : one.text,
  }));
  const data = { name: "same.jsonl", utterances: utterances.slice(2, 6) };
  const options = { steps: 2, align: 2, schedule: "constant" as const };
  const whole = await stepsOf({ data, options: { ...options, batchTokens: 1000 } });
  const frames = whole[0].answerTokens;
  const parts = await stepsOf({
    data,
    options: { ...options, batchTokens: Math.ceil(frames / 2) + 4, accumulate: 2 },
  });
  for (const [i, step] of parts.entries()) {
    expect(step.answerTokens).toBe(frames);
    expect(step.loss).toBeCloseTo(whole[i].loss, 4);
    expect(step.gradientNorm / whole[i].gradientNorm).toBeCloseTo(1, 4);
  }
});

test("stopped before, at and behind the boundary, a run goes on to the same bits", async () => {
  const options = { steps: 6, align: 3, batchTokens: 160, every: 2, schedule: "cosine" as const };
  const exact = async (out: string): Promise<unknown[]> =>
    (await readMetrics(runFiles(out).metrics))
      .filter((line): line is StepMetrics => !isValidation(line))
      .map(({ step, aligned, epoch, loss, gradientNorm, learningRate }) => [
        ...[step, aligned, epoch, loss, gradientNorm, learningRate],
      ]);
  const whole = join(directory().path, "whole");
  await run({ out: whole, options });
  const stopped = join(directory().path, "stopped");
  for (const stop of [2, 1, 2, 2]) await run({ out: stopped, options }, { resume: true, stop });
  await run({ out: stopped, options }, { resume: true });
  expect(await exact(stopped)).toEqual(await exact(whole));
  await expect(run({ out: stopped, options: { ...options, align: 2 } }, { resume: true })).rejects.toThrow(
    /last\.safetensors: --align: expected 3 as in the run, got 2/,
  );
});

test("of an alignment: flat, and as planned", async () => {
  gpu().trim();
  const before = gpu().bytes.reserved;
  const session = await openSession(gpu(), setup({ options: { steps: 5, align: 5, batchTokens: 1000 } }));
  const { clips, model, options } = session.run;
  const bytes: number[] = [];
  await train(session.run, false, { onStep: ({ gpuBytes }) => bytes.push(gpuBytes - before) });
  session.free();
  expect(new Set(bytes.slice(1)).size).toBe(1);
  const batch = stagesOf(clips, options)[0].rows(clips);
  const { total } = await plannedBytes(gpu(), model.config, { tune: ["adaptor"] }, batch);
  expect(bytes[4]).toBe(total);
});

test("alignment: lines without a transcript and clips that are too short are skipped, and counted", async () => {
  const [one, ...others] = directory().data.utterances;
  const long =
    "one two three four five six seven eight nine ten and so on and on and on to the end of it all";
  const prompt = "语音翻译成英文：";
  const utterances = [one, { ...one, prompt }, { ...one, text: "", prompt, transcript: one.text }];
  const reported: string[] = [];
  const setting = {
    onBad: (message: string): void => void reported.push(message),
    options: { steps: 1, align: 1, batchTokens: 1000 },
  };
  const data = { name: "some.jsonl", utterances: [...utterances, { ...one, text: long }, ...others] };
  expect(await stepsOf({ ...setting, data })).toHaveLength(1);
  const taken = data.utterances.length - 2;
  expect(reported).toEqual([
    `some.jsonl: the alignment takes ${taken} clips; skipped: 1 whose line has no transcript, 1 with fewer frames than their transcript needs`,
  ]);
  const none = { name: "none.jsonl", utterances: utterances.slice(1, 2) };
  await expect(run({ ...setting, data: none })).rejects.toThrow(
    /^align: expected clips whose transcript is known, got 1 lines without one and 0 clips shorter/,
  );
  await expect(run({ ...setting, tune: ["lora"] })).rejects.toThrow(
    "align: expected adaptor or encoder in what is tuned, got lora",
  );
  await expect(run({ options: { steps: 2, align: 3 } })).rejects.toThrow(
    "align: expected at most the 2 steps in all, got 3",
  );
});

test("alone, an alignment asks for room for the clips that it takes, and not for those that it skips", async () => {
  const { utterances } = directory().data;
  const [short, long] = [utterances[0], utterances[7]];
  const reported: string[] = [];
  const frames = async (steps: number): Promise<number> => {
    const translated = { ...long, prompt: "语音翻译成英文：" };
    const data = { name: "mixed.jsonl", utterances: [short, translated] };
    const onBad = (message: string): void => void reported.push(message);
    const [step] = await stepsOf({ data, onBad, options: { steps, align: 1, batchTokens: 12 } });
    return step.answerTokens;
  };
  const room = await frames(1);
  expect(room).toBeLessThanOrEqual(12);
  expect(reported).toEqual([
    "mixed.jsonl: the alignment takes 1 clips; skipped: 1 whose line has no transcript, 0 with fewer frames than their transcript needs",
  ]);
  await expect(frames(2)).rejects.toThrow("expected 2 lines that can be used"); // the cross-entropy takes it
  const data = { name: "long.jsonl", utterances: [short, long] };
  await expect(run({ data, options: { steps: 1, align: 1, batchTokens: 12 } })).rejects.toThrow(
    "long.jsonl: expected 2 lines that can be used, got 1 that cannot",
  );
});

test.each([
  [["adaptor"], "adaptor.projector"],
  [["adaptor", "encoder"], "encoder.stem"],
] as const)("%j: what is not finite in an alignment is named, with its own rate", async (tune, stage) => {
  const options = { steps: 2, align: 2, batchTokens: 1000 };
  const session = await openSession(gpu(), setup({ tune, options }));
  const { corpus } = session.run;
  const rows = corpus.rows.bind(corpus);
  let steps = 0;
  corpus.rows = async (clip) => {
    const found = await rows(clip);
    if (steps === 1) found.data[0] = NaN;
    return found;
  };
  await expect(train(session.run, false, { onStep: () => steps++ })).rejects.toThrow(
    `step 2: expected finite numbers, got some that are not in ${stage}; lower --align-lr or --clip, or check the data`,
  );
  session.free();
});
