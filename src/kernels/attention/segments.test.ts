import { expect, test } from "vitest";
import { useGpu } from "../../../test/gpu.js";
import { makeSegments } from "./segments.js";

// The tables of packed clips, read back: offsets, each row's clip, and attention's tiles of 16 rows
// that never pass a clip.
const gpu = useGpu();

test.each([
  [[1], 1, [0, 1]],
  [[16], 16, [0, 16]],
  [[17, 1, 16], 16, [0, 16, 16, 17, 17, 18, 18, 34]],
  [[1, 1, 1], 1, [0, 1, 1, 2, 2, 3]],
])("clips of %j rows", async (lengths, tileRows, tiles) => {
  const [ranges, table] = await gpu().step(() => {
    const segments = makeSegments(gpu(), lengths);
    expect(segments.offsets).toEqual(lengths.reduce((sums, length) => [...sums, sums.at(-1)! + length], [0]));
    expect([segments.rows, segments.longest]).toEqual([
      lengths.reduce((a, b) => a + b),
      Math.max(...lengths),
    ]);
    expect(segments.tiles.rows).toBe(tileRows);
    expect(segments.tiles.table.shape).toEqual([tiles.length / 2, 2]);
    return [segments.ranges, segments.tiles.table];
  });
  expect([...table]).toEqual(tiles);
  const want: number[] = [];
  let first = 0;
  for (const length of lengths) {
    for (let row = 0; row < length; row++) want.push(first, first + length);
    first += length;
  }
  expect([...ranges]).toEqual(want);
});
