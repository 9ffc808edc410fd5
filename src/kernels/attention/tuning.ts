import type { Gpu } from "../../gpu/device.js";
import { type ShapeClass, type TimedCall, keepFilled } from "../tuning.js";
import { attention } from "./attention.js";
import { makeSegments, makeTiles } from "./segments.js";
import { attentionClass, attentionRowClass } from "./variants.js";

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

/** One row over the keys of a clip of half a minute. */
function rowCall(gpu: Gpu): TimedCall {
  const keys = 448;
  const q = keepFilled(gpu, [1, heads * headDim]);
  const kv = keepFilled(gpu, [keys, kvHeads * headDim]);
  const run = (): void => {
    const ranges = gpu.upload(Uint32Array.of(0, keys), [1, 2]);
    attention(gpu, q, kv, kv, { heads, kvHeads, ranges, tiles: makeTiles(gpu, [1]) });
  };
  const free = (): void => {
    gpu.free(q);
    gpu.free(kv);
  };
  return { shape: `1 row, ${keys} keys, ${heads} heads of ${headDim}`, run, free };
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
  [
    attentionRowClass,
    {
      kind: "attention row",
      kernels: ["attention/attention-row-subgroup", "attention/attention-join"],
      rows: 1,
      candidates: [],
      onGpus: [
        { groups: 1024, keys: 128 },
        { groups: 64, keys: 512 },
      ],
      call: (gpu) => Promise.resolve(rowCall(gpu)),
    },
  ],
];
