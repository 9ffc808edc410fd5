import { expect, test } from "vitest";
import { values } from "../../test/gpu.js";
import { DEFAULT_FRONTEND, type FrontendConfig } from "./config.js";
import { AudioError } from "./errors.js";
import { extractFeatures } from "./features.js";
import { VadFeatures } from "./vad-features.js";

// Plan: pieces of any length give the bits of the whole, which are those of the front-end, moved and
// scaled; every stack; audio of no frame, of one and two; a NaN.
const config: FrontendConfig = {
  ...DEFAULT_FRONTEND,
  melBins: 8,
  lfrStack: 5,
  lfrStride: 1,
  waveformScale: 32_768,
};
const normalisation = (stack: number) => ({ shift: values(8 * stack, 1), scale: values(8 * stack, 2, 2) });

function inPieces(samples: Float32Array, stack: number, sizes: readonly number[]): number[] {
  const features = new VadFeatures({ ...config, lfrStack: stack }, normalisation(stack));
  const rows: number[] = [];
  let at = 0;
  for (let i = 0; at < samples.length; i++) {
    const size = sizes[i % sizes.length];
    rows.push(...features.push(samples.subarray(at, at + size)));
    at += size;
  }
  rows.push(...features.push(new Float32Array(0), true));
  return rows;
}

test.each([1, 2, 5, 6])("stack %i: pieces, the whole, and the front-end's rows", (stack) => {
  const { shift, scale } = normalisation(stack);
  for (const length of [400, 559, 560, 720, 4001]) {
    const samples = values(length, length);
    const { data } = extractFeatures(samples, { ...config, lfrStack: stack });
    const want = [...data.map((value, i) => (value + shift[i % shift.length]) * scale[i % scale.length])];
    for (const sizes of [[length], [1], [160], [7, 0, 1000, 3]])
      expect(inPieces(samples, stack, sizes)).toEqual(want);
  }
});

test.each([0, 1, 399])("%i samples have no frame", (length) => {
  expect(inPieces(values(length, 1), 5, [100])).toEqual([]);
});

test("a NaN is refused by its number in the whole", () => {
  const samples = values(2900, 1);
  samples[2850] = NaN;
  expect(() => inPieces(samples, 5, [900])).toThrow(
    new AudioError("audio", "sample 2850", "a finite number", NaN),
  );
});
