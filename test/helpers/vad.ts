import { type VadConfig, vadTensors } from "../../src/config/vad-config.js";
import type { HeldTensor } from "../../src/weights/zero-extended.js";
import { values } from "../gpu.js";

/** A small net of odd widths. */
export const smallVad: VadConfig = {
  melBins: 4,
  stack: 3,
  window: "hamming",
  inputAffineDim: 5,
  layers: 2,
  linearDim: 6,
  projDim: 3,
  taps: 4,
  outputAffineDim: 7,
  outputDim: 9,
};

/** The released net's sizes. */
export const releasedVad: VadConfig = {
  melBins: 80,
  stack: 5,
  window: "hamming",
  inputAffineDim: 140,
  layers: 4,
  linearDim: 250,
  projDim: 128,
  taps: 20,
  outputAffineDim: 140,
  outputDim: 248,
};

/** Seeded weights for every tensor of a net, of a size that keeps activations near 1. */
export function vadWeights(config: VadConfig): Map<string, HeldTensor> {
  return new Map(
    [...vadTensors(config)].map(([name, shape], i) => {
      const fan = shape.length === 2 ? shape[1] : shape.length === 3 ? shape[2] : 1;
      const data = values(
        shape.reduce((a, b) => a * b),
        i + 1,
      ).map((value) => value * Math.sqrt(3 / fan));
      return [name, { shape, data }];
    }),
  );
}
