import { type ShapeClass, keepFilled } from "../tuning.js";
import { argmax } from "./argmax.js";
import { argmaxClass } from "./variants.js";

const vocabulary = 151_936;

/** What a tuning may set. */
export const argmaxClasses: readonly [string, ShapeClass][] = [
  [
    argmaxClass,
    {
      kind: "argmax",
      kernels: ["argmax/argmax-part", "argmax/argmax-join"],
      rows: 1,
      candidates: [],
      onGpus: [{ part: 0 }, { part: 1024 }, { part: 4096 }],
      call: (gpu) => {
        const x = keepFilled(gpu, [1, vocabulary]);
        const run = (): void => void argmax(gpu, x);
        return Promise.resolve({ shape: `1×${vocabulary}`, run, free: () => gpu.free(x) });
      },
    },
  ],
];
