import { expect, test } from "vitest";
import { zeroExtended } from "./zero-extended.js";

// Plan: vectors, matrices and taps in larger shapes and in their own, read whole and in part; a
// tensor that is not there has no entry.
test("zeros stand behind each row and behind the last", async () => {
  const held = new Map([
    ["v", { shape: [2], data: Float32Array.of(1, 2) }],
    ["m", { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }],
    ["t", { shape: [1, 1, 2], data: Float32Array.of(7, 8) }],
  ]);
  const shapes = { v: [4], m: [3, 4], t: [2, 1, 2], gone: [1] };
  const source = zeroExtended("x", held, new Map(Object.entries(shapes)));
  const read = async (name: string, from = 0, to?: number): Promise<number[]> => {
    const entry = source.tensors.get(name)!;
    const end = to ?? entry.byteLength / 4;
    const bytes = await source.read(entry, 4 * from, 4 * (end - from));
    return [...new Float32Array(bytes.slice().buffer)];
  };
  expect(await read("v")).toEqual([1, 2, 0, 0]);
  expect(await read("m")).toEqual([1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0, 0]);
  expect(await read("m", 2, 5)).toEqual([3, 0, 4]);
  expect(await read("t")).toEqual([7, 8, 0, 0]);
  expect(source.tensors.get("m")).toEqual({ name: "m", dtype: "F32", shape: [3, 4], byteLength: 48 });
  expect([...source.tensors.keys()]).toEqual(["v", "m", "t"]);
});
