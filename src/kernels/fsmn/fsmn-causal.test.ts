import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { makeSegments } from "../attention/segments.js";
import { causalTiles, fsmnCausal } from "./fsmn-causal.js";
import { fsmn } from "./fsmn.js";
import { fsmnRef } from "./fsmn.ref.js";

// Clips that go on, against f64 over what came before and the clip: lengths around the tile of 8 rows
// and the taps, widths around the workgroup; the bits of `fsmn` over both; past 65,535 workgroups;
// then the refusals.
const gpu = useGpu();
const bound = 1e-7; // 20 products and sums of values near 1

interface Case {
  width: number;
  taps: number;
  lengths: number[];
}

/** What came before each clip, then the clip, packed. */
function joined(v: Float32Array, before: Float32Array, { width, taps, lengths }: Case): Float32Array {
  let at = 0;
  const parts = lengths.flatMap((length, clip) => {
    const left = (taps - 1) * width;
    const own = v.subarray(at, (at += length * width));
    return [before.subarray(clip * left, (clip + 1) * left), own];
  });
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

/** Rows of the clips alone. */
function clipsOf(y: Float32Array | Float64Array, { width, taps, lengths }: Case): number[] {
  let at = 0;
  return lengths.flatMap((length) => {
    at += taps - 1;
    return [...y.subarray(at * width, (at += length) * width)];
  });
}

describe.each<Case>([
  { width: 128, taps: 20, lengths: [1, 7, 8, 9, 19, 20, 47] },
  { width: 63, taps: 11, lengths: [17, 3] },
  { width: 1, taps: 2, lengths: [31] },
  { width: 65, taps: 24, lengths: [16, 1, 70] },
])("width $width, $taps taps, clips of $lengths", (c) => {
  const rows = c.lengths.reduce((a, b) => a + b);
  const v = values(rows * c.width, 1);
  const w = values(c.width * c.taps, 2);
  const before = values(c.lengths.length * (c.taps - 1) * c.width, 3);
  const all = joined(v, before, c);
  const lengths = c.lengths.map((length) => length + c.taps - 1);
  const taps = [c.width, 1, c.taps];

  test("against f64, and the bits of fsmn over both", async () => {
    const g = gpu();
    const got = await runOp(g, () =>
      fsmnCausal(
        g,
        g.upload(v, [rows, c.width]),
        g.upload(w, taps),
        g.upload(before, [before.length / c.width, c.width]),
        causalTiles(g, c.lengths),
      ),
    );
    expectClose(got, clipsOf(fsmnRef(all, w, c.width, lengths, c.taps - 1), c), bound);
    const whole = await runOp(g, () =>
      fsmn(
        g,
        g.upload(all, [all.length / c.width, c.width]),
        g.upload(w, taps),
        makeSegments(g, lengths).ranges,
        {
          left: c.taps - 1,
        },
      ),
    );
    expect([...got]).toEqual(clipsOf(whole, c));
  });
});

test("past 65,535 workgroups", async () => {
  const [clips, width] = [65_537, 64];
  const g = gpu();
  const got = await runOp(g, () => {
    const v = g.upload(new Float32Array(clips * width).fill(1), [clips, width]);
    const taps = g.upload(new Float32Array(2 * width).fill(2), [width, 1, 2]);
    const before = Float32Array.from({ length: clips * width }, (_, i) => i % 7);
    const tiles = causalTiles(g, Array<number>(clips).fill(1));
    return fsmnCausal(g, v, taps, g.upload(before, [clips, width]), tiles);
  });
  expect(got.findIndex((value, i) => value !== 3 + 2 * (i % 7))).toBe(-1);
});

test("refusals", async () => {
  const g = gpu();
  const refused = (op: () => unknown, message: string): Promise<void> =>
    expect(g.step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const call = (v: number[], before: number[]): unknown =>
    fsmnCausal(g, g.empty(v), g.empty([4, 1, 3]), g.empty(before), causalTiles(g, [5]));
  await refused(() => call([6, 4], [2, 4]), "fsmnCausal: v must be [5, 4], got [6, 4]");
  await refused(() => call([5, 4], [3, 4]), "fsmnCausal: before must be [2, 4], got [3, 4]");
  await refused(() => causalTiles(g, [0]), "causalTiles: expected a row at least, got none");
});
