import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { add } from "../kernels/add/add.js";
import { argmax } from "../kernels/argmax/argmax.js";
import { copyRows } from "../kernels/copy-rows/copy-rows.js";
import { GpuError } from "./errors.js";
import { Program } from "./recorder.js";
import { Timing } from "./timing.js";

// Every dispatch of a run is there once, in order, with its label, its submit and what it was made
// from, also those that a Program replays and those past one query set; results are the same bits;
// without a timing nothing is left behind.
const gpu = useGpu({ timestamps: true });

describe("timing", () => {
  test("names, submits, labels, contents; begin before end, one after the other", async () => {
    const g = gpu();
    const x = g.keep([4, 1], "f32");
    const rows = g.keep([4, 2], "u32");
    g.write(x, Float32Array.of(1, 2, 3, 4));
    const timing = (g.timing = new Timing(g.device));
    const program = new Program();
    const step = (shift: number): ReturnType<typeof g.step> => {
      g.write(rows, new Uint32Array([0, shift, 1, 1, 2, 2, 3, 3]));
      return g.step(() => {
        const sum = add(g, x, x);
        copyRows(g, sum, rows, x);
        return [sum];
      }, program);
    };
    timing.label = "first";
    await step(0);
    timing.label = "second";
    await step(1);
    await g.step(() => [argmax(g, g.upload(Float32Array.of(3, 5), [1, 2]))]);
    g.timing = undefined;
    const run = await timing.collect();
    expect(run.dispatches.map((d) => [d.kernel.name, d.submit, d.label, d.program])).toEqual([
      ["add/add", 0, "first", true],
      ["copy-rows/copy-rows", 0, "first", true],
      ["add/add", 1, "second", true],
      ["copy-rows/copy-rows", 1, "second", true],
      ["argmax/argmax", 2, "second", false],
    ]);
    expect(run.dispatches.map(({ contents }) => [...(contents.pairs ?? [])].slice(0, 2))).toEqual([
      [],
      [0, 0],
      [],
      [0, 1],
      [],
    ]);
    expect(run.dispatches[1].dispatch.params).toEqual({ count: 4, width: 1 });
    expect(run.submits).toHaveLength(3);
    let last = 0n;
    for (const { begin, end } of run.dispatches) {
      expect(begin >= last).toBe(true);
      expect(end > begin).toBe(true);
      last = end;
    }
    for (const work of ["encode", "bind groups", "submit", "wait", "read"])
      expect(run.host.filter((span) => span.work === work && span.end >= span.start).length).toBeGreaterThan(
        0,
      );
    for (const tensor of [x, rows]) g.free(tensor);
    expect(g.bytes).toMatchObject({ kept: 0, live: 0 });
  });

  test("more dispatches than one query set holds, and the same bits as without", async () => {
    const g = gpu();
    const run = (): Promise<unknown> =>
      g.step(() => {
        let x = g.upload(Float32Array.of(1e-30), [1]);
        const y = g.upload(Float32Array.of(0.1), [1]);
        for (let i = 0; i < 2100; i++) x = g.scope(() => add(g, x, y));
        return [x];
      });
    const plain = await run();
    const timing = (g.timing = new Timing(g.device));
    expect(await run()).toEqual(plain);
    g.timing = undefined;
    const { dispatches } = await timing.collect();
    expect(dispatches).toHaveLength(2100);
    expect(dispatches.every(({ begin, end }) => end > begin)).toBe(true);
  });

  test("a device without the feature is refused", () => {
    const device = { features: new Set() } as unknown as GPUDevice;
    expect(() => new Timing(device)).toThrow(
      new GpuError("timing: expected a device with the feature timestamp-query, got one without"),
    );
  });
});
