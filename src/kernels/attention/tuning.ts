import type { Gpu } from "../../gpu/device.js";
import { type ShapeClass, type TimedCall, keepFilled } from "../tuning.js";
import { attention } from "./attention.js";
import { makeSegments } from "./segments.js";
import { attentionClass } from "./variants.js";

const [rows, heads, kvHeads, headDim] = [128, 16, 8, 128];

function attentionCall(gpu: Gpu): TimedCall {
  const q = keepFilled(gpu, [rows, heads * headDim]);
  const kv = keepFilled(gpu, [rows, kvHeads * headDim]);
  const run = (): void => {
    const { ranges, tiles } = makeSegments(gpu, [rows]);
    attention(gpu, q, kv, kv, { heads, kvHeads, ranges, tiles });
  };
  const free = (): void => {
    gpu.free(q);
    gpu.free(kv);
  };
  return { shape: `${rows} rows, ${heads} heads of ${headDim}`, run, free };
}

/** What a tuning may set. */
export const attentionClasses: readonly [string, ShapeClass][] = [
  [
    attentionClass,
    {
      kind: "attention",
      kernels: ["attention/attention-subgroup"],
      rows,
      candidates: [{ TN: 1 }, { TN: 2 }, { TN: 4 }],
      call: (gpu) => Promise.resolve(attentionCall(gpu)),
    },
  ],
];
