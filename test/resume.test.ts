import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { uniformNumbers } from "../src/random.js";
import { isValidation, readMetrics } from "../src/train/metrics.js";
import { defaultOptions } from "../src/train/options.js";
import { lockFile } from "../src/train/run-lock.js";
import {
  type TrainChildSettings,
  type TrainingDirectory,
  trainChild,
  trainingDirectory,
} from "./helpers/training.js";

// A run that is killed (SIGKILL, its own process) at ten seeded points and resumed each time,
// against one that is not: the same losses, gradient norms, validations and weights, bit for bit,
// some of the kills being inside a file that is being written, and some in the alignment that the
// run begins with. Then what may not be resumed.
const kills = 10;
const steps = 10;
let directory: TrainingDirectory;
beforeAll(async () => (directory = await trainingDirectory()));
afterAll(() => directory.remove());

/** Writes the settings of a run of that name; returns them and their file. */
function settings(
  name: string,
  change: Partial<TrainChildSettings["options"]> = {},
): { file: string; out: string } {
  const { path, data } = directory;
  const out = join(path, name);
  const file = join(path, `${name}.json`);
  const options = {
    ...defaultOptions,
    steps,
    align: 3,
    warmup: 3,
    learningRate: 1e-3,
    batchTokens: 160,
    accumulate: 2,
    every: 3,
    decode: 2,
    labelSmoothing: 0.1,
    ...change,
  };
  const validation = { name: "data.jsonl", utterances: data.utterances.slice(0, 3) };
  const all: TrainChildSettings = {
    model: join(path, "model"),
    data,
    validation,
    tune: ["adaptor"],
    options,
    out,
  };
  writeFileSync(file, JSON.stringify(all));
  return { file, out };
}

/** metrics.jsonl without what is measured. */
async function exact(out: string): Promise<unknown[]> {
  const lines = await readMetrics(join(out, "metrics.jsonl"));
  return lines.map((line) =>
    isValidation(line)
      ? { ...line, validation: { ...line.validation, seconds: 0 } }
      : { ...line, seconds: 0, gpuBytes: 0 },
  );
}

test("ten kills and resumptions change no bit", async () => {
  const whole = settings("whole");
  const { code, stdout, stderr } = await trainChild(whole.file);
  expect({ code, stderr: stderr.match(/Error.*/)?.[0] }).toEqual({ code: 0 });
  const ticks = Number(stdout);
  expect(ticks).toBeGreaterThan(steps);

  const killed = settings("killed");
  const random = uniformNumbers(5);
  let unfinished = 0;
  let locked = 0;
  for (let i = 0; i < kills; i++) {
    const run = await trainChild(killed.file, 1 + Math.floor((random() * ticks) / 6));
    expect(run.signal).toBe("SIGKILL");
    locked += Number(existsSync(lockFile(killed.out)));
    unfinished += readdirSync(killed.out).filter((name) => name.endsWith(".part")).length;
  }
  expect(unfinished).toBeGreaterThan(0); // some kills were inside a write
  expect(locked).toBe(kills); // and each left its lock, which the next one took over
  expect((await trainChild(killed.file)).code).toBe(0);

  expect(await exact(killed.out)).toEqual(await exact(whole.out));
  for (const name of ["last.safetensors", "best.safetensors"])
    expect(readFileSync(join(killed.out, name)).equals(readFileSync(join(whole.out, name)))).toBe(true);
  expect(readdirSync(killed.out).sort()).toEqual(readdirSync(whole.out).sort());
});
