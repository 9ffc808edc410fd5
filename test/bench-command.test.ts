import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { adapters, efficiency } from "../src/presets.js";
import { qwen3Sizes, sizeConfig } from "../src/train/plan-sizes.js";
import { countClip, evenShares, predict, usualDevice } from "../src/profile/predict.js";
import { shapeClasses } from "../src/kernels/shape-classes.js";
import { type Run, cli, errorLines, jsonLines } from "./helpers/cli.js";

const work = mkdtempSync(join(tmpdir(), "bench-"));
afterAll(() => rmSync(work, { recursive: true }));
const bench = (...args: string[]): Promise<Run> => cli(["bench", ...args], { FUNASR_WEBGPU_TUNING: work });
const formats = ["f32", "bf16", "f16", "q8", "q4"];
const expectDone = (run: Run): void =>
  expect({ code: run.code, errors: errorLines(run) }).toEqual({ code: 0, errors: [] });

// Plan: ceilings, predictions by data sheet, by stated figures and as measured, tuning; then what
// does not fit together.
describe("bench --ceiling", () => {
  it("measures four ceilings, as JSON; with --predict, a line for each size and format too", async () => {
    const run = await bench("--ceiling", "--predict", "--json", "--tokens", "9");
    expectDone(run);
    const [{ adapter, ceilings }, ...rest] = jsonLines(run) as [
      { adapter: string; ceilings: Record<string, Record<string, number>> },
      ...Record<string, unknown>[],
    ];
    expect(adapter).not.toBe("");
    expect(Object.keys(ceilings)).toEqual(["bandwidth", "flops", "dispatch", "readback"]);
    for (const { min, median, max } of Object.values(ceilings))
      expect(min >= 0 && median >= min && max >= median && max > 0).toBe(true);
    expect(rest.map(({ llm, weights }) => `${llm as string} ${weights as string}`)).toEqual(
      qwen3Sizes.flatMap((size) => formats.map((weights) => `Qwen3-${size} ${weights}`)),
    );
    for (const one of rest) {
      expect(one).toMatchObject({ adapter, seconds: 10, tokens: 9 });
      expect(Number(one.token) > 0 && Number(one.clip) > 8 * Number(one.token)).toBe(true);
    }
  });

  it("prints a table", async () => {
    const run = await bench("--ceiling");
    expectDone(run);
    expect(run.stdout).toMatch(/^ceiling +min +median +max$/m);
    for (const line of [/^copy, read and written .*GB\/s$/m, /^mul \+ add .*GFLOP\/s$/m, /^dispatch .*µs$/m])
      expect(run.stdout).toMatch(line);
  });
});

describe("bench --predict", () => {
  it("by data sheet: the formula's numbers, for each GPU of the preset", async () => {
    const run = await bench(
      "--predict",
      "--preset",
      "m-series",
      "--json",
      "--seconds",
      "4",
      "--tokens",
      "24",
    );
    expectDone(run);
    const lines = jsonLines(run);
    const apple = adapters.filter(({ name }) => name.startsWith("Apple"));
    expect(lines).toHaveLength(apple.length * qwen3Sizes.length * formats.length);
    const work = { seconds: 4, tokens: 24 };
    const counted = await countClip(sizeConfig("0.6B"), "f32", work, usualDevice);
    expect(lines[0]).toEqual({
      adapter: apple[0].name,
      llm: "Qwen3-0.6B",
      weights: "f32",
      ...work,
      ...predict(counted, work, apple[0], evenShares(efficiency)),
    });
  });

  it("by stated figures: a table, and what share of them is taken", async () => {
    const run = await bench("--predict", "--bandwidth", "100", "--peak", "2", "--dispatch", "8");
    expectDone(run);
    expect(run.stdout).toMatch(/^100 GB\/s, 2 TFLOP\/s, 8 µs a dispatch: a clip of 10 s, 50 tokens$/m);
    expect(run.stdout.match(/^0\.6B +(f32|bf16|f16|q8|q4) /gm)).toHaveLength(5);
    expect(run.stderr).toMatch(
      /kernels are assumed to reach 33\.3 % of the arithmetic and 70 % of the bandwidth/,
    );
  });
});

describe("bench --predict --check", () => {
  it("runs a clip of the demo, and its exit code says whether every stage is within 30 %", async () => {
    const run = await bench("--predict", "--check", "--seconds", "0.6", "--tokens", "3", "--json");
    expect(errorLines(run)).toEqual([]);
    const [result] = jsonLines(run) as {
      weights: string;
      stages: { stage: string; predicted: number; measured: { median: number }; within: boolean }[];
    }[];
    expect(result).toMatchObject({ weights: "bf16", seconds: 0.6, tokens: 3, tolerance: 0.3 });
    expect(result.stages.map(({ stage }) => stage)).toEqual(["audio", "prompt", "token"]);
    for (const { predicted, measured, within } of result.stages) {
      const ratio = predicted / measured.median;
      expect(within).toBe(Math.max(ratio, 1 / ratio) <= 1.3);
    }
    expect(run.code).toBe(result.stages.every(({ within }) => within) ? 0 : 1);
  });
});

describe("bench --tune", () => {
  const classes = [...shapeClasses].filter(
    ([, { format, candidates }]) => candidates.length > 0 && (format === undefined || format === "q4"),
  );

  it("times the classes of a format, keeps the choices, and leaves those of others", async () => {
    const first = await bench("--tune", "--weights", "q4", "--json");
    expectDone(first);
    const lines = jsonLines(first) as {
      shapeClass: string;
      usual: number;
      chosen: unknown;
      timed: { seconds: number }[];
    }[];
    expect(lines.map(({ shapeClass }) => shapeClass)).toEqual(classes.map(([name]) => name));
    for (const { shapeClass, usual, timed } of lines) {
      expect(usual > 0 && timed.every(({ seconds }) => seconds > 0)).toBe(true);
      expect(timed).toHaveLength(shapeClasses.get(shapeClass)!.candidates.length);
    }
    const [file] = readdirSync(work);
    expect(first.stderr).toContain(`wrote ${join(work, file)}`);
    const kept = JSON.parse(readFileSync(join(work, file), "utf8")) as { sizes: Record<string, unknown> };
    const chosen = lines.filter((line) => line.chosen !== null);
    expect(kept.sizes).toEqual(Object.fromEntries(chosen.map((line) => [line.shapeClass, line.chosen])));
    const other = { "linear f16 1": { workgroups: 16 } };
    writeFileSync(join(work, file), JSON.stringify({ ...kept, sizes: { ...kept.sizes, ...other } }));
    const second = await bench("--tune", "--weights", "q4");
    expectDone(second);
    expect(second.stdout).toMatch(/^class +timed by +usual, ms +best, ms +with +taken$/m);
    expect(second.stdout.match(/^linear q4 /gm)).toHaveLength(5);
    const after = JSON.parse(readFileSync(join(work, file), "utf8")) as { sizes: Record<string, unknown> };
    expect(after.sizes).toMatchObject(other);
    expect(readdirSync(work)).toEqual([file]);
  });

  it("keeps nothing where tuning is off, and says so", async () => {
    const run = await cli(["bench", "--tune", "--weights", "q4"], { FUNASR_WEBGPU_TUNING: "off" });
    expectDone(run);
    expect(run.stderr).toContain("FUNASR_WEBGPU_TUNING is off: nothing was kept");
  });
});

describe("bench refuses", () => {
  it.each([
    ["nothing to do", [], /name --ceiling, --predict or both, or --tune alone\nusage: /],
    ["tuning and more", ["--tune", "--predict"], /name --ceiling, --predict or both, or --tune alone/],
    [
      "weights without tuning",
      ["--ceiling", "--weights", "q8"],
      /expected --tune or --check with --weights, got neither/,
    ],
    [
      "an unknown preset",
      ["--predict", "--preset", "rtx3060"],
      /Allowed choices are m-series, rtx4090, h100/,
    ],
    [
      "a preset to measure",
      ["--ceiling", "--preset", "h100"],
      /--predict with --preset.*, got --ceiling alone\nusage: /,
    ],
    ["a preset and figures", ["--predict", "--preset", "h100", "--peak", "1"], /got both/],
    ["some of the figures", ["--predict", "--peak", "1"], /together, got 1 of them/],
    ["no bandwidth at all", ["--predict", "--bandwidth", "0"], /Expected a number above 0/],
    ["text for a number", ["--predict", "--seconds", "ten"], /Expected a number above 0/],
    ["an unknown option", ["--predictions"], /unknown option '--predictions'/],
  ])("%s: 2, a line, nothing on stdout", async (_, args, message) => {
    const run = await bench(...args);
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 2, stdout: "" });
    expect(run.stderr).toMatch(message);
  });
});
