import type { Gpu } from "../../gpu/device.js";
import { freeMatrix, keepMatrix } from "../../gpu/matrix.js";
import { type ShapeClass, type TimedCall, keepFilled } from "../tuning.js";
import { crossEntropy } from "./cross-entropy.js";
import { crossEntropyClass } from "./variants.js";

const [rows, width, vocabulary] = [16, 8, 151_936]; // narrow: the scores cost less than their losses

async function lossCall(gpu: Gpu): Promise<TimedCall> {
  const head = keepMatrix(gpu, vocabulary, width, "bf16");
  const hidden = keepFilled(gpu, [rows, width]);
  await gpu.step(() => (head.pieces.forEach(({ tensor }) => gpu.clear(tensor)), [])); // touches its pages
  const labels = Array.from({ length: rows }, (_, row) => row);
  const free = (): void => {
    freeMatrix(gpu, head);
    gpu.free(hidden);
  };
  const run = (): void => void crossEntropy(gpu, hidden, head, labels);
  return { shape: `${rows}×${vocabulary}`, run, free };
}

/** What a tuning may set. */
export const crossEntropyClasses: readonly [string, ShapeClass][] = [
  [
    crossEntropyClass,
    {
      kind: "cross-entropy",
      kernels: ["largest", "sums", "loss", "gradient"].map((name) => `cross-entropy/cross-entropy-${name}`),
      rows,
      candidates: [],
      onGpus: [{ shared: 0 }, { shared: 1 }],
      call: lossCall,
    },
  ],
];
