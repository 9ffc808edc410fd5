import { digits } from "../report/text.js";
import { describe, expect, test } from "vitest";
import { run } from "../../test/helpers/timed-run.js";
import { traceProblems } from "../../test/helpers/trace.js";
import type { Ceilings } from "./ceiling.js";
import { profilePage } from "./page.js";
import { clockStep, summarise } from "./summary.js";
import { causeRows, groupRows } from "./text.js";
import { traceEvents } from "./trace.js";

// Sums, rates and shares of a run that is known; calls below the clock's step; the page is one
// file; the trace keeps to the format.
const same = (value: number): Ceilings["flops"] => ({ min: value, median: value, max: value });
const ceilings: Ceilings = {
  bandwidth: same(12e6),
  flops: same(2e6),
  dispatch: same(1e-5),
  readback: same(1e-3),
};
const wall = { start: 0, end: 20 };

describe("clockStep", () => {
  test.each([
    [[65_536, 131_072, 655_360], 65_536],
    [[7, 5, 12], 1],
    [[100, 160, 400], 60],
  ])("%j: %i ns", (times, step) => expect(clockStep(times.map(BigInt))).toBe(step));
});

describe("summarise", () => {
  const profile = summarise(run, wall, 15, ceilings);

  test("stages, rates and shares", () => {
    expect(profile.stages.map(({ stage, calls, milliseconds }) => [stage, calls, milliseconds])).toEqual([
      ["prefill", 2, 3],
      ["decode", 1, 2],
    ]);
    const [longest] = profile.kernels;
    expect(longest).toMatchObject({ kernel: "add/add", bytes: 24_000, flops: 2000, bandwidth: 8e6 });
    expect(longest.share).toBeCloseTo(2 / 3, 12);
    expect(longest.bound).toBe("memory");
    expect(profile.host).toEqual({ encode: 2, "bind groups": 1, submit: 0.5, wait: 18.5, read: 0.5 });
    expect(profile).toMatchObject({ dispatches: 3, submits: 2, quantum: 1e6, wall: 20, plainWall: 15 });
  });

  test("a call below the clock's step counts as one step, and is marked", () => {
    const [first, ...rest] = run.dispatches;
    const coarse = summarise(
      { ...run, dispatches: [{ ...first, end: first.begin }, ...rest] },
      wall,
      15,
      ceilings,
    );
    expect(coarse.stages[0]).toMatchObject({ milliseconds: 2, atMost: true });
    expect(groupRows(coarse.stages)[1].slice(0, 3)).toEqual(["prefill", "2", "≤ 2.00"]);
    expect(profile.stages[0].atMost).toBe(false);
  });

  test("the table of causes adds up", () => {
    const rows = causeRows(profile);
    expect(rows.at(-1)).toEqual(["sum", "20.0", "100 %"]);
    expect(rows.slice(1, -1).reduce((sum, [, ms]) => sum + Number(ms), 0)).toBeCloseTo(20, 6);
  });

  test("one page with the roofline, the stages and nothing from outside", () => {
    const html = profilePage(profile, "a <clip>");
    expect(html.match(/<figure>/g)).toHaveLength(3);
    for (const text of ["FLOP a byte", "a &#60;clip&#62;", "between dispatches", "prefill", "add/add"])
      expect(html).toContain(text);
    expect(html).not.toMatch(/(src|href)="(?!data:|#)|<script/);
  });

  test.each([
    [0, "0"],
    [0.012345, "0.0123"],
    [12.345, "12.3"],
    [1234.5, "1235"],
  ])("%d is written %s", (value, text) => expect(digits(value)).toBe(text));
});

describe("traceEvents", () => {
  const { traceEvents: events } = JSON.parse(JSON.stringify(traceEvents(run))) as ReturnType<
    typeof traceEvents
  >;
  const complete = events.filter(({ ph }) => ph === "X");

  test("keeps to the format: fields, time that goes forward, events in one another or apart, names", () => {
    expect(traceProblems(JSON.stringify(traceEvents(run)))).toEqual([]);
  });

  test.each<[string, (events: Record<string, unknown>[]) => unknown, RegExp]>([
    ["no events", (events) => events.splice(0), /must be an array of some events/],
    ["a phase", (events) => (events[0].ph = "Q"), /^event 0: ph must be X or M, got Q/],
    ["no thread", (events) => delete events[0].tid, /^event 0: pid and tid must be integers/],
    ["a time", (events) => (events.at(-1)!.ts = null), /ts and dur must be times, got null/],
    ["a length", (events) => (events.at(-1)!.dur = -1), /ts and dur must be times/],
    ["a name", (events) => (events[0].args = {}), /a name's args must hold it/],
    ["no names", (events) => events.splice(0, 6), /^1 has no name/],
    ["back in time", (events) => events.reverse(), /comes after one at/],
    ["half inside", (events) => (events.find((e) => e.name === "encode")!.dur = 1500), /around it at/],
  ])("a trace with %s is reported", (_, damage, message) => {
    const trace = traceEvents(run);
    const events = JSON.parse(JSON.stringify(trace.traceEvents)) as Record<string, unknown>[];
    damage(events);
    const problems = traceProblems(JSON.stringify({ ...trace, traceEvents: events }));
    expect(problems.join("\n")).toMatch(new RegExp(message.source, "m"));
  });

  test("threads are named, dispatches and stages stand where they ran", () => {
    const named = events.filter(({ name }) => name === "thread_name").map(({ pid, tid }) => `${pid}.${tid}`);
    for (const { pid, tid } of complete) expect(named).toContain(`${pid}.${tid}`);
    const device = complete.filter(({ cat }) => cat === "device");
    expect(device.map(({ name, ts, dur }) => [name, ts, dur])).toEqual([
      ["add/add", 3000, 2000],
      ["add/add", 6000, 1000],
      ["add/add", 11_000, 2000],
      ["prefill", 3000, 4000],
      ["decode", 11_000, 2000],
    ]);
    expect(device[0].args).toEqual({ shape: "[1000]", bytes: 12_000, flops: 1000, submit: 0 });
  });
});
