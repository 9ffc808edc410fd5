import { describe, expect, test } from "vitest";
import { useGpu, values } from "../../test/gpu.js";
import { add } from "../kernels/add/add.js";
import { copyRows } from "../kernels/copy-rows/copy-rows.js";
import type { Gpu, TensorData } from "./device.js";
import { GpuError } from "./errors.js";
import { Program } from "./recorder.js";
import type { Tensor } from "./tensor.js";

// A step that is recorded once: what it reads, what it counts, that others may run between its
// runs, and what it cannot hold.
const gpu = useGpu();

describe("programs", () => {
  test("the body runs once; what stands in kept tensors is as it is at each run", async () => {
    const g = gpu();
    const [x, one] = [g.keep([4, 1], "f32"), g.keep([4, 1], "f32")];
    g.write(one, new Float32Array(4).fill(1));
    const rows = g.keep([4, 2], "u32");
    g.write(rows, new Uint32Array([0, 0, 1, 1, 2, 2, 3, 3]));
    const calls: number[] = [];
    const program = new Program();
    const run = (): Promise<TensorData[]> =>
      g.step(() => {
        calls.push(calls.length);
        const sum = g.scope(() => add(g, add(g, x, one), one));
        copyRows(g, sum, rows, x);
        return [sum];
      }, program);
    const [first] = await run();
    expect([...first]).toEqual([2, 2, 2, 2]);
    const before = g.counts;
    const pending = [run(), run()]; // without waiting in between
    g.write(one, new Float32Array([1, 2, 3, 4]));
    pending.push(run());
    const later = (await Promise.all(pending)).map(([data]) => [...data]);
    expect(later).toEqual([
      [4, 4, 4, 4],
      [6, 6, 6, 6],
      [8, 10, 12, 14],
    ]);
    expect(g.counts).toEqual({ ...before, dispatches: before.dispatches + 9, submits: before.submits + 3 });
    expect(calls).toHaveLength(1);
    g.trim(); // its buffers are gone: it is recorded anew
    expect([...(await run())[0]]).toEqual([10, 14, 18, 22]);
    expect(calls).toHaveLength(2);
    for (const tensor of [x, one, rows]) g.free(tensor);
    expect(g.bytes).toMatchObject({ live: 0 });
  });

  test("a step between its runs may use the same buffers", async () => {
    const g = gpu();
    const x = g.keep([64], "f32");
    g.write(x, new Float32Array(64).fill(3));
    const program = new Program();
    const run = (): Promise<TensorData[]> => g.step(() => [add(g, x, x)], program);
    await run();
    const other = g.step(() => [add(g, g.upload(values(64, 1), [64]), x)]);
    const [[again]] = await Promise.all([run(), other]);
    expect([...again]).toEqual(Array(64).fill(6));
    g.free(x);
  });

  test("a tensor that is held between its runs keeps its contents", async () => {
    const g = gpu();
    const [x, one] = [g.keep([64], "f32"), g.keep([64], "f32")];
    g.write(one, new Float32Array(64).fill(1));
    const program = new Program();
    const run = async (value: number): Promise<number> => {
      g.write(x, new Float32Array(64).fill(value));
      const [[sum]] = await g.step(
        () => [
          add(
            g,
            g.scope(() => add(g, x, x)),
            one,
          ),
        ],
        program,
      );
      return sum;
    };
    expect(await run(3)).toBe(7);
    let held: Tensor | undefined;
    await g.step(() => ((held = g.hold(add(g, one, one))), [])); // in a buffer of the program
    const before = g.counts.bindGroups;
    expect(await run(5)).toBe(11);
    expect(await run(6)).toBe(13);
    const [[kept]] = await g.step(() => [held!]);
    expect(kept).toBe(2);
    const made = g.counts.bindGroups - before;
    g.release(held!);
    expect(await run(7)).toBe(15);
    expect(g.counts.bindGroups - before).toBe(made);
    for (const tensor of [x, one]) g.free(tensor);
    expect(g.bytes).toMatchObject({ live: 0 });
  });

  test.each<[string, (g: Gpu) => unknown]>([
    ["upload: write into kept tensors before it", (g) => g.upload(new Float32Array(1), [1])],
    ["read: return the tensors", (g) => g.read(g.empty([1]))],
  ])("cannot %s", async (what, body) => {
    const program = new Program();
    const failed = gpu().step(() => (body(gpu()), []), program);
    await expect(failed).rejects.toThrow(new GpuError(`a program's step cannot ${what}`));
    expect(program.recording).toBeUndefined();
    const [ok] = await gpu().step(() => [gpu().upload(new Float32Array([5]), [1])]);
    expect([...ok]).toEqual([5]);
  });
});
