import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { causes } from "../src/profile/timeline.js";
import { demoModel } from "../src/node/demo.js";
import { type Run, cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";
import { writeDirectory } from "./helpers/tiny-model.js";
import { traceProblems } from "./helpers/trace.js";

let work: ReturnType<typeof writeDirectory>;
beforeAll(() => void (work = writeDirectory(new Map([["text.wav", "this is no audio"]]))));
afterAll(() => work.remove());

const clip = join(demoModel, "clips", "en-seen-1.wav");
const at = (name: string): string => join(work.path, name);
const profile = (...args: string[]): Promise<Run> => cli(["profile", "--max-tokens", "3", ...args]);

interface Group {
  readonly stage: string;
  readonly kernel: string;
  readonly calls: number;
  readonly milliseconds: number;
  readonly bytes: number;
  readonly flops: number;
  readonly share: number;
  readonly bound: string;
}
interface Result {
  readonly about: string;
  readonly adapter: Record<string, string>;
  readonly wall: number;
  readonly plainWall: number;
  readonly quantum: number;
  readonly submits: number;
  readonly dispatches: number;
  readonly stages: readonly Group[];
  readonly kernels: readonly Group[];
  readonly shapes: readonly Group[];
  readonly causes: Record<string, number>;
  readonly host: Record<string, number>;
  readonly ceilings: Record<string, { min: number; median: number; max: number }>;
}
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

// Plan: one run of a clip writes everything; its parts agree with each other and with the files.
// Then text alone, and what is refused.
describe("profile of a clip", () => {
  let run: Run;
  let result: Result;
  beforeAll(async () => {
    run = await profile(clip, "--json", "--trace", at("trace.json"), "--html", at("page.html"));
    result = jsonLines(run)[0] as unknown as Result;
  });

  it("succeeds, one object on stdout, the device named on stderr", () => {
    expect({ code: run.code, errors: errorLines(run), lines: jsonLines(run).length }).toEqual({
      code: 0,
      errors: [],
      lines: 1,
    });
    expect(run.stderr).toMatch(/^device: \S/m);
    expect(result.about).toContain(`${clip}, model `);
    expect(result.about).toContain(result.adapter.description);
  });

  it("has the stages of a transcription, in order", () => {
    expect(result.stages.map(({ stage }) => stage)).toEqual(["encoder", "adaptor", "prefill", "decode"]);
  });

  it("counts calls, time, bytes and FLOPs alike by stage, by kernel and by shape", () => {
    for (const groups of [result.stages, result.kernels, result.shapes]) {
      expect(sum(groups.map(({ calls }) => calls))).toBe(result.dispatches);
      for (const field of ["milliseconds", "bytes", "flops"] as const) {
        const all = sum(result.stages.map((group) => group[field]));
        expect(sum(groups.map((group) => group[field])) / all).toBeCloseTo(1, 9);
      }
      for (const { share, bound, milliseconds } of groups) {
        expect(share > 0 && milliseconds > 0).toBe(true);
        expect(["memory", "arithmetic"]).toContain(bound);
      }
    }
    expect(new Set(result.kernels.map(({ kernel }) => kernel)).size).toBeGreaterThan(8);
  });

  it("puts the whole wall time down to causes", () => {
    expect(Object.keys(result.causes)).toEqual([...causes, "unattributed"]);
    expect(sum(Object.values(result.causes)) / result.wall).toBeCloseTo(1, 9);
    expect(Math.min(...Object.values(result.causes))).toBeGreaterThanOrEqual(0);
    expect(Object.keys(result.host).sort()).toEqual(["bind groups", "encode", "read", "submit", "wait"]);
    expect(result.plainWall > 0 && result.quantum >= 1 && result.submits > 3).toBe(true);
  });

  it("measures the ceilings of its own run", () => {
    expect(Object.keys(result.ceilings).sort()).toEqual(["bandwidth", "dispatch", "flops", "readback"]);
    for (const { min, median, max } of Object.values(result.ceilings))
      expect(min >= 0 && median >= min && max >= median && max > 0).toBe(true);
  });

  it("writes a trace that keeps to the format, a kernel for each dispatch", () => {
    const text = readFileSync(at("trace.json"), "utf8");
    expect(traceProblems(text)).toEqual([]);
    const { traceEvents } = JSON.parse(text) as {
      traceEvents: { ph: string; pid: number; tid: number; name: string }[];
    };
    const complete = traceEvents.filter(({ ph }) => ph === "X");
    const kernels = complete.filter(({ pid, tid }) => pid === 2 && tid === 1);
    expect(kernels).toHaveLength(result.dispatches);
    expect(new Set(kernels.map(({ name }) => name))).toEqual(
      new Set(result.kernels.map(({ kernel }) => kernel)),
    );
    expect(complete.filter(({ pid, tid }) => pid === 2 && tid === 2).map(({ name }) => name)).toEqual([
      ...["encoder", "adaptor", "prefill", "decode"],
    ]);
  });

  it("writes one page without anything from outside; nothing else is left", () => {
    const page = readFileSync(at("page.html"), "utf8");
    expect(page).toMatch(/^<!doctype html>/i);
    expect(page.match(/<figure>/g)).toHaveLength(3);
    expect(page).not.toMatch(/(src|href)="(?!data:|#)|<script/);
    expect(readdirSync(work.path).sort()).toEqual(["page.html", "text.wav", "trace.json"]);
  });
});

describe("profile of text", () => {
  it("prints tables: stages, kernels, shapes, wall time, host", async () => {
    const run = await profile("--prompt", "hello", "--weights", "q8");
    expect({ code: run.code, errors: errorLines(run) }).toEqual({ code: 0, errors: [] });
    expect(run.stdout).toMatch(
      /^stage +calls +ms +share +µs a call +MB +MFLOP +GB\/s +GFLOP\/s +of the ceiling$/m,
    );
    expect(run.stdout).toMatch(/^prefill +\d+ /m);
    expect(run.stdout).toMatch(/^decode +linear\/linear-row/m);
    expect(run.stdout).toMatch(/^sum +[\d.]+ +100 %$/m);
    expect(run.stdout).toMatch(/^encode +[\d.]+ +[\d.e-]+$/m);
    expect(run.stdout).toMatch(/^ceilings of this run: copies [\d.]+ GB\/s/m);
    expect(run.stdout).not.toMatch(/^encoder /m);
  });
});

// Plan: a place that takes no file is named before a device is opened, whichever option names it.
it.runIf(process.platform === "linux").each([
  ["--trace", "/proc/t.json"],
  ["--html", "/proc/t.html"],
  ["--html", "/dev/null"],
])("profile %s %s: refused before the measurement", async (option, file) => {
  const run = await profile("--prompt", "hi", option, file);
  expect(expectRefusal(run)).toContain(`error: ${file}: write: expected `);
  expect(run.stderr).not.toContain("device:");
});

describe("profile refuses", () => {
  it.each([
    ["neither a clip nor text", [], /expected a clip or --prompt, got neither/],
    ["both", [clip, "--prompt", "hello"], /expected a clip or --prompt, got both/],
    ["tokens that are no count", [clip, "--max-tokens", "0"], /max-tokens/],
    ["an unknown format", [clip, "--weights", "q5"], /Allowed choices are f32, bf16, f16, q8, q4/],
    ["an unknown option", [clip, "--tracing", "x"], /unknown option '--tracing'/],
  ])("%s: 2, a line with --quiet too, nothing on stdout", async (_, args, message) => {
    const run = await profile("--quiet", ...args);
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 2, stdout: "" });
    expect(run.stderr).toMatch(message);
  });

  it.each([
    [
      "a clip that is not there",
      () => [at("none.wav")],
      /^error: \S+none\.wav: expected a file of that name, got none/,
    ],
    ["a clip that is no audio", () => [at("text.wav")], /^error: \S+text\.wav: .*expected/],
    [
      "a model that is not there",
      () => [clip, "--model", at("none")],
      /^error: "\S+none": expected a model directory or a hub name/,
    ],
    ["a place that is not there", () => ["--prompt", "hi", "--trace", at("no/t.json")], /no\/t\.json/],
  ])("%s: 1, one line", async (_, args, message) => {
    expect(expectRefusal(await profile(...args()))).toMatch(message);
    expect(existsSync(at("no"))).toBe(false);
  });
});
