import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { type Outcome, useTraining } from "../../test/helpers/training-runs.js";
import { BatchStream, epochBatches } from "./batches.js";
import { clipTokens } from "./corpus.js";
import { train } from "./loop.js";
import { readMetrics } from "./metrics.js";
import { defaultOptions } from "./options.js";
import { plannedBytes } from "../../test/helpers/training-runs.js";
import { batchRows } from "./stages.js";
import { loadState } from "./state.js";
import { openSession, runFiles } from "./session.js";

// Runs on a tiny checkpoint: the loss falls for every part that can be tuned; a step in
// micro-batches is the step in one batch; two runs have equal bits; the cache spares the encoder
// and mends itself; memory is flat and as planned; what is not finite stops the run, named, with
// weights and saved state as they were; what does not fit a saved run, and lines that cannot be
// used, are refused.
const gpu = useGpu();
const { directory, setup, run } = useTraining(gpu);

const exact = ({ steps }: Outcome): unknown[] =>
  steps.map(({ loss, gradientNorm, learningRate }) => [loss, gradientNorm, learningRate]);

describe("learning", () => {
  test.each([[["adaptor"]], [["lora"]], [["encoder"]], [["adaptor", "lora", "encoder"]]] as const)(
    "%j: the loss falls",
    async (tune) => {
      const { steps } = await run({ tune, options: { steps: 8, batchTokens: 1000 } });
      expect(steps).toHaveLength(8);
      expect(steps[7].loss).toBeLessThan(0.95 * steps[0].loss);
    },
  );

  test("a step in micro-batches is the step in one batch", async () => {
    const whole = await run({ options: { steps: 2, batchTokens: 1000 } });
    expect(whole.steps[0].epoch).toBe(0);
    const parts = await run({ options: { steps: 2, batchTokens: 100, accumulate: await batchCount(100) } });
    for (const [i, step] of parts.steps.entries()) {
      expect(step.answerTokens).toBe(whole.steps[i].answerTokens);
      expect(step.loss).toBeCloseTo(whole.steps[i].loss, 4);
      expect(step.gradientNorm / whole.steps[i].gradientNorm).toBeCloseTo(1, 4);
    }
  });

  test("two runs have equal bits, another seed has another order", async () => {
    const options = { batchTokens: 160 };
    const first = exact(await run({ options }));
    expect(exact(await run({ options }))).toEqual(first);
    expect(exact(await run({ options: { ...options, seed: 2 } }))).not.toEqual(first);
  });

  test("validation: its loss is that of the training clips, its decoding is scored", async () => {
    const validation = directory().data;
    const { steps, validations } = await run({
      validation,
      options: { steps: 1, batchTokens: 1000, learningRate: 0, every: 1, decode: 3 },
    });
    expect(validations).toHaveLength(1);
    const [{ step, validation: got }] = validations;
    expect(step).toBe(1);
    expect(got.loss).toBeCloseTo(steps[0].loss, 5);
    expect(got.cer).toBeGreaterThan(0.5); // words of random weights
    expect(Math.abs(got.cosine)).toBeLessThanOrEqual(1);
  });

  test("epochs are as many steps, behind the alignment's, as take every clip so often", async () => {
    const out = join(directory().path, "epochs");
    const [count, accumulate, align] = [await batchCount(160), 2, 1];
    expect(count % 2).toBe(1); // so that the last step takes more than the first epoch has
    const options = { batchTokens: 160, accumulate, align };
    const whole = { ...options, epochs: 1, steps: 1_000_000 };
    const { steps } = await run({ out, options: whole });
    expect(steps).toHaveLength(align + (count + 1) / 2);
    const epochs = steps.slice(align).map(({ epoch }) => epoch);
    expect(epochs).toEqual([...epochs.slice(1).map(() => 0), 1]);
    const again = await run({ out, options: { ...options, steps: steps.length } }, { resume: true });
    expect(again.steps).toEqual([]); // it is the same run, and done
    await expect(run({ options: { epochs: 0 } })).rejects.toThrow("epochs: expected a whole number from 1");
  });

  async function batchCount(budget: number): Promise<number> {
    const session = await openSession(gpu(), setup());
    const sizes = session.run.clips.map(clipTokens);
    session.free();
    return epochBatches(sizes, 0, { budget, seed: defaultOptions.seed }).length;
  }
});

describe("cache", () => {
  test("later runs do not run the encoder; a damaged entry is made again, and the losses stay", async () => {
    const cache = join(directory().path, "own-cache");
    const first = await run({ cache });
    expect(first.computed).toBe(directory().data.utterances.length);
    const session = await openSession(gpu(), setup({ cache }));
    const [clip] = session.run.clips;
    expect(session.run.corpus.computed).toBe(0);
    session.free();
    const path = join(cache, clip.key.slice(0, 2), `${clip.key.slice(2)}.safetensors`);
    const whole = readFileSync(path);
    truncateSync(path, 100);
    const again = await run({ cache });
    expect(again.computed).toBe(1);
    expect(exact(again)).toEqual(exact(first));
    expect(readFileSync(path).equals(whole)).toBe(true);
  });

  test("one that cannot be written ends the run, and no line is left out for it", async () => {
    const cache = join(directory().path, "no-directory");
    writeFileSync(cache, "");
    await expect(run({ cache, skipBad: true })).rejects.toThrow(
      /no-directory.*: expected a cache that can be written, got .*name another --cache/,
    );
  });
});

describe("cache of another kind", () => {
  test("other storage of the frozen encoder has rows of its own", async () => {
    const cache = join(directory().path, "formats-cache");
    const all = directory().data.utterances.length;
    expect((await run({ cache, options: { steps: 1 } })).computed).toBe(all);
    expect((await run({ cache, weights: "q8", options: { steps: 1 } })).computed).toBe(all);
    expect((await run({ cache, weights: "q8", options: { steps: 1 } })).computed).toBe(0);
  });

  test("an audio file that changed during the run is refused where its rows are made again", async () => {
    const audio = join(directory().path, "changing.wav");
    copyFileSync(directory().data.utterances[0].audio, audio);
    const data = {
      name: "changing.jsonl",
      utterances: [{ audio, text: "now", line: 1 }, directory().data.utterances[2]],
    };
    const session = await openSession(
      gpu(),
      setup({ data, cache: join(directory().path, "changing-cache") }),
    );
    const { corpus, clips } = session.run;
    session.free();
    rmSync(join(directory().path, "changing-cache"), { recursive: true });
    copyFileSync(directory().data.utterances[1].audio, audio);
    await expect(corpus.rows(clips[0])).rejects.toThrow(
      `${audio}: expected the file as it was when the run began, got another`,
    );
  });
});

describe("memory", () => {
  test.each([[["adaptor"]], [["lora"]], [["encoder"]], [["adaptor", "lora", "encoder"]]] as const)(
    "%j: flat once every batch was seen, and as planned",
    async (tune) => {
      gpu().trim();
      const before = gpu().bytes.reserved;
      const session = await openSession(gpu(), setup({ tune, options: { steps: 5, batchTokens: 1000 } }));
      const { clips, model } = session.run;
      const bytes: number[] = [];
      await train(session.run, false, { onStep: ({ gpuBytes }) => bytes.push(gpuBytes) });
      session.free();
      expect(new Set(bytes.slice(1)).size).toBe(1);
      const { total } = await plannedBytes(gpu(), model.config, { tune }, batchRows(clips));
      expect(bytes[4] - before).toBe(total);
    },
  );

  test.each(["q8", "bf16"] as const)(
    "one short clip, %s: transposed weights are planned",
    async (weights) => {
      gpu().trim();
      const before = gpu().bytes.reserved;
      const data = { ...directory().data, utterances: directory().data.utterances.slice(0, 1) };
      const session = await openSession(gpu(), setup({ data, weights, options: { steps: 2 } }));
      const { clips, model } = session.run;
      let used = 0;
      await train(session.run, false, { onStep: ({ gpuBytes }) => (used = gpuBytes - before) });
      session.free();
      const plan = await plannedBytes(gpu(), model.config, { tune: ["adaptor"], weights }, batchRows(clips));
      expect(plan.transposed).toBeGreaterThan(plan.total / 10);
      expect(used).toBe(plan.total);
    },
  );

  test("flat over 500 steps: bytes, bind groups, pipelines, keys of the cache", async () => {
    const data = { ...directory().data, utterances: directory().data.utterances.slice(0, 1) };
    const session = await openSession(
      gpu(),
      setup({ data, options: { steps: 500, every: 1000, learningRate: 0 } }),
    );
    const seen = new Set<string>();
    await train(session.run, false, {
      onStep: ({ step }) => {
        const { bindGroups, pipelines } = gpu().counts;
        if (step > 2) seen.add(JSON.stringify([gpu().bytes, gpu().cached, bindGroups, pipelines]));
      },
    });
    session.free();
    expect([...seen]).toHaveLength(1);
  });

  test("batches of many sizes: the pools stay at what the largest needs", async () => {
    gpu().trim();
    const before = gpu().bytes.reserved;
    const session = await openSession(gpu(), setup({ options: { steps: 24, batchTokens: 110, every: 9 } }));
    const { clips, model } = session.run;
    const bytes: number[] = [];
    await train(session.run, false, { onStep: ({ gpuBytes }) => bytes.push(gpuBytes - before) });
    session.free();
    const stream = new BatchStream(clips.map(clipTokens), { budget: 110, seed: defaultOptions.seed });
    const plans: number[] = [];
    for (const i of bytes.keys()) {
      const batch = batchRows(stream.at(i).clips.map((clip) => clips[clip]));
      plans.push((await plannedBytes(gpu(), model.config, { tune: ["adaptor"] }, batch)).total);
    }
    expect(new Set(plans).size).toBeGreaterThan(4);
    expect(Math.max(...bytes)).toBeLessThan(1.2 * Math.max(...plans));
    expect(Math.max(...bytes.slice(12))).toBeLessThanOrEqual(Math.max(...bytes.slice(0, 12)));
  });
});

describe("what is not finite", () => {
  test("stops the run: step and tensor are named, weights and saved state stay", async () => {
    const out = join(directory().path, "poisoned");
    const options = { steps: 4, every: 1, batchTokens: 1000 };
    const session = await openSession(gpu(), setup({ out, options }));
    const { corpus, optimiser, files } = session.run;
    const rows = corpus.rows.bind(corpus);
    let steps = 0;
    corpus.rows = async (clip) => {
      const found = await rows(clip);
      if (steps === 2) found.data[0] = NaN;
      return found;
    };
    const weights = async (): Promise<unknown> =>
      gpu().step(() => optimiser.entries.flatMap(({ value, m, v }) => [value, m, v]));
    let before: unknown;
    await expect(
      train(session.run, false, {
        onValidation: () => steps++,
        onStep: ({ step }) => {
          if (step === 2) before = readFileSync(files.last);
        },
      }),
    ).rejects.toThrow(
      /^step 3: expected finite numbers, got some that are not in adaptor\.projector; lower --lr/,
    );
    expect(before).toBeDefined();
    expect((await readMetrics(files.metrics)).filter((line) => !("validation" in line))).toHaveLength(2);
    const now = await weights();
    session.free();
    const again = await openSession(gpu(), setup({ out, options }));
    await loadState(gpu(), files.last, again.run.optimiser.entries, again.run.identity);
    const saved = await gpu().step(() =>
      again.run.optimiser.entries.flatMap(({ value, m, v }) => [value, m, v]),
    );
    again.free();
    expect(now).toEqual(saved);
  });
});

describe("validation that is not finite", () => {
  test("stops the run before it is written down", async () => {
    const options = { steps: 1, every: 1, batchTokens: 1000 };
    const session = await openSession(gpu(), setup({ validation: directory().data, options }));
    const { corpus, files } = session.run;
    const rows = corpus.rows.bind(corpus);
    let trained = false;
    corpus.rows = async (clip) => {
      const found = await rows(clip);
      if (trained) found.data[0] = NaN;
      return found;
    };
    await expect(train(session.run, false, { onStep: () => (trained = true) })).rejects.toThrow(
      "step 1: validation: expected a finite loss, got NaN; check the validation data, or lower --lr",
    );
    session.free();
    expect(await readMetrics(files.metrics)).toHaveLength(1);
    expect([files.best, files.last].map(existsSync)).toEqual([false, false]);
  });
});

test("a run that begins takes away the best state of one that was killed before its first saved state", async () => {
  const out = join(directory().path, "stale");
  mkdirSync(out);
  const { best, last } = runFiles(out);
  writeFileSync(best, "of another run");
  await run({ out, options: { steps: 1 } });
  expect([best, last].map(existsSync)).toEqual([false, true]);
});

describe("refusals", () => {
  test("a saved run goes on with its own options and data alone", async () => {
    const out = join(directory().path, "resumed");
    const options = { steps: 2, every: 1 };
    await run({ out, options });
    await expect(run({ out, options: { ...options, clip: 2 } }, { resume: true })).rejects.toThrow(
      /last\.safetensors: --clip: expected 1 as in the run, got 2; name another --out/,
    );
    const data = { ...directory().data, utterances: directory().data.utterances.slice(1) };
    await expect(run({ out, options, data }, { resume: true })).rejects.toThrow(
      /last\.safetensors: --data: expected "/,
    );
    await expect(run({ out, options, tune: ["adaptor", "lora"] }, { resume: true })).rejects.toThrow(
      /last\.safetensors: --tune: expected "adaptor" as in the run, got "adaptor,lora"/,
    );
    expect((await run({ out, options }, { resume: true })).steps).toEqual([]); // it is done
  });

  test("lines that cannot be used are reported with their numbers, and left out only with skipBad", async () => {
    const [one] = directory().data.utterances;
    const bad = [
      { ...one, audio: join(directory().path, "none.wav"), line: 7 },
      { ...one, text: "stop <|im_end|>", line: 8 },
      { ...one, start: 90, end: 91, line: 9 },
    ];
    const data = { name: "bad.jsonl", utterances: [one, ...bad] };
    const reported: string[] = [];
    const onBad = (message: string): void => void reported.push(message);
    await expect(run({ data, onBad })).rejects.toThrow(
      "bad.jsonl: expected 4 lines that can be used, got 3 that cannot; mend them, or leave them out with --skip-bad",
    );
    expect(reported.map((message) => message.split(": ")[0])).toEqual([
      "bad.jsonl:7",
      "bad.jsonl:8",
      "bad.jsonl:9",
    ]);
    const { steps } = await run({ data, onBad, skipBad: true, options: { steps: 1 } });
    expect(steps).toHaveLength(1);
    await expect(run({ data: { ...data, utterances: bad }, skipBad: true })).rejects.toThrow(
      "bad.jsonl: expected at least 1 line that can be used, got none",
    );
  });

  test("of many lines that cannot be used 20 are reported one by one", async () => {
    const [one] = directory().data.utterances;
    const many = Array.from({ length: 23 }, (_, i) => ({ ...one, text: "a<|im_end|>", line: i + 1 }));
    const reported: string[] = [];
    await expect(
      run({
        data: { name: "bad.jsonl", utterances: many },
        onBad: (message) => void reported.push(message),
      }),
    ).rejects.toThrow("got 23 that cannot");
    expect(reported).toHaveLength(21);
    expect(reported[19]).toMatch(/^bad\.jsonl:20: text: expected/);
    expect(reported[20]).toBe("bad.jsonl: and 3 more such lines");
  });

  test("options out of range", async () => {
    await expect(run({ options: { steps: 0 } })).rejects.toThrow(
      "steps: expected a whole number from 1 to 1000000000, got 0",
    );
    await expect(run({ options: { batchTokens: 20 } })).rejects.toThrow(
      /^data\.jsonl: expected 8 lines that can be used, got 8 that cannot/,
    );
  });
});
