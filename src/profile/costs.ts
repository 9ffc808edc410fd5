import { GpuError } from "../gpu/errors.js";
import type { Dispatch } from "../gpu/kernel.js";
import type { Tensor } from "../gpu/tensor.js";

/** Work of a dispatch, counted from its shapes. */
export interface Cost {
  /** Multiplications, additions, divisions, roots and exponentials, one each; undefined where the shapes do not tell. */
  readonly flops: number | undefined;
  /** Each array once, as far as it is read or written. */
  readonly bytes: number;
}

/** What the u32 arrays of a dispatch held, by binding name. */
export type Contents = Readonly<Record<string, Uint32Array>>;

type Params = Dispatch["params"];
type Tensors = Dispatch["tensors"];
type Count = (params: Params, dispatch: Dispatch, contents: Contents) => { flops?: number; bytes?: number };

/** Bytes of the tensors, each buffer once: an optional argument that is absent binds another one's. */
function distinctBytes(tensors: Tensors): number {
  const seen = new Map<number, number>();
  for (const { allocation, bytes } of Object.values(tensors))
    seen.set(allocation.id, Math.max(bytes, seen.get(allocation.id) ?? 0));
  return [...seen.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** So many FLOPs for each of `count`, or of rows · width, elements; every tensor read or written as a whole. */
const perElement =
  (flops: number): Count =>
  ({ count, rows, width, width4 }) => ({ flops: flops * (count ?? rows * (width ?? 4 * width4)) });

/** Bytes of a tensor that none of the others stands in for. */
function own(tensor: Tensor | undefined, others: readonly (Tensor | undefined)[], bytes: number): number {
  const shared = others.some((other) => other?.allocation === tensor?.allocation);
  return tensor === undefined || shared ? 0 : bytes;
}

/** y = x · wᵀ with what joins it in the epilogue: 2 a weight and row. A piece of w makes its own columns of y only. */
const linear: Count = ({ rows, columns, k4, k8 }, { tensors }) => {
  const k = k8 === undefined ? 4 * k4 : 8 * k8;
  const { x, dy, w, scales, bias, residual } = tensors;
  const weightRows = w.shape.length === 2 ? w.shape[0] : columns;
  const made = 4 * rows * columns;
  const bytes =
    4 * rows * k +
    w.bytes +
    own(scales, [w], scales?.bytes ?? 0) +
    own(bias, [x, dy, residual], 4 * columns) +
    own(residual, [x, bias], made) +
    made;
  return { flops: 2 * rows * k * weightRows, bytes };
};

/** Pairs of a row and a key that it sees, and keys that are seen at all; ranges that start alike lie in one another. */
function seenKeys(ranges: Uint32Array | undefined): { pairs: number; keys: number } {
  if (!ranges) throw new GpuError("profile: attention's ranges must be written while timing, got none");
  const ends = new Map<number, number>();
  let pairs = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    pairs += ranges[i + 1] - ranges[i];
    ends.set(ranges[i], Math.max(ranges[i + 1], ends.get(ranges[i]) ?? 0));
  }
  let keys = 0;
  for (const [start, end] of ends) keys += end - start;
  return { pairs, keys };
}

/** `products` dot products or weighted sums, 2 · headDim each, for each head and pair; only the keys that are seen are read. */
const attention =
  (products: number): Count =>
  ({ heads, head4, group }, { tensors }, { ranges }) => {
    const { pairs, keys } = seenKeys(ranges);
    const { k, v, ...rest } = tensors;
    const width = (4 * head4 * heads) / group;
    const read = (k ? 4 * keys * width : 0) + (v ? 4 * keys * width : 0);
    return { flops: products * 2 * pairs * heads * 4 * head4, bytes: distinctBytes(rest) + read };
  };

/** Chunks of keys that rows have; attention-row.wgsl or its subgroup kernel writes and attention-join.wgsl reads so many parts. */
function partBytes(ranges: Uint32Array, heads: number, head4: number): number {
  let chunks = 0;
  for (let i = 0; i < ranges.length; i += 2) chunks += Math.ceil((ranges[i + 1] - ranges[i]) / 128);
  return 16 * chunks * heads * (head4 + 1);
}

/** As `attention`; a range in chunks leaves a part for each. */
const attentionRow: Count = (params, dispatch, contents) => {
  const cost = attention(2)(params, dispatch, contents);
  if (!dispatch.overrides?.SPLIT) return cost;
  const parts = partBytes(contents.ranges, params.heads, params.head4);
  return { ...cost, bytes: cost.bytes! - dispatch.tensors.y.bytes + parts };
};

const attentionJoin: Count = ({ heads, head4 }, { tensors }, { ranges }) => {
  const bytes = partBytes(ranges, heads, head4);
  return { flops: bytes / 2, bytes: bytes + tensors.y.bytes };
};

/** dx = dy · w or dw = dyᵀ · x. */
const gradient: Count = ({ rows, k4, terms, columns }) => ({ flops: 2 * rows * 4 * k4 * (terms ?? columns) });

const convolution =
  (perTap: number, rest: number): Count =>
  ({ rows, width, taps }) => ({ flops: rows * width * (perTap * taps + rest) });

const qkNormRope: Count = ({ rows, heads, kv_heads }, { tensors: { qkv, q_gamma, angles, slots } }) => ({
  flops: rows * (heads + kv_heads) * (q_gamma.bytes / 4) * 7,
  bytes: 2 * qkv.bytes + angles.bytes + slots.bytes, // what is read is written: queries, and rows of the cache
});

/** By the kernel's path below src/kernels. */
const counts: Readonly<Record<string, Count>> = {
  "adamw/adamw": perElement(14),
  "add/add": perElement(1),
  "add/add-into": perElement(1),
  "argmax/argmax": perElement(1),
  "attention/attention": attention(2),
  "attention/attention-subgroup": attention(2),
  "attention/attention-row": attentionRow,
  "attention/attention-row-subgroup": attentionRow,
  "attention/attention-join": attentionJoin,
  "attention/attention-backward-stats": attention(1),
  "attention/attention-backward-query": attention(3),
  "attention/attention-backward-key": () => ({}), // what a row sees stands in stats, on the device
  "attention/attention-backward-stats-subgroup": attention(1),
  "attention/attention-backward-query-subgroup": attention(3),
  "attention/attention-backward-key-subgroup": () => ({}), // likewise
  "column-sum/column-sum": perElement(1),
  "column-sum/column-sum-normed": perElement(5),
  "copy-rows/copy-rows": ({ count, width }) => ({ flops: 0, bytes: 8 * count * (width + 1) }),
  "copy-rows/copy-rows-backward": perElement(1),
  "cross-entropy/cross-entropy": ({ rows, width }, { overrides }) => ({
    flops: rows * width * (overrides?.GRADIENT ? 8 : 4),
  }),
  "embedding/embedding": ({ rows, piece_rows }, { tensors: { w, y } }) => ({
    flops: 0,
    bytes: 4 * rows + (w.bytes / piece_rows) * rows + y.bytes,
  }),
  "fsmn/fsmn": convolution(2, 1),
  "fsmn/fsmn-backward": convolution(2, 1),
  "fsmn/fsmn-backward-weight": convolution(2, 0),
  "grad-norm/grad-norm": perElement(2),
  "grad-norm/grad-norm-total": (_, { tensors }) => ({ flops: tensors.parts.bytes / 4 }),
  "layer-norm/layer-norm": perElement(8),
  "layer-norm/layer-norm-subgroup": perElement(8),
  "layer-norm/layer-norm-backward": perElement(16),
  "layer-norm/layer-norm-backward-subgroup": perElement(16),
  "linear/linear": linear,
  "linear/linear-subgroup": linear,
  "linear/linear-row-subgroup": linear,
  "linear/linear-input-grad": gradient,
  "linear/linear-weight-grad": gradient,
  "linear/linear-grad-subgroup": gradient,
  "linear/linear-transpose": () => ({ flops: 0 }),
  "mul-add/mul-add": ({ rounds, count }) => ({ flops: 128 * rounds * count }),
  "positions/positions": perElement(2),
  "qk-norm-rope/qk-norm-rope": qkNormRope,
  "qk-norm-rope/qk-norm-rope-subgroup": qkNormRope,
  "relu-backward/relu-backward": perElement(1),
  "rms-norm/rms-norm": perElement(4),
  "rms-norm/rms-norm-subgroup": perElement(4),
  "rms-norm/rms-norm-backward": perElement(10),
  "rms-norm/rms-norm-backward-subgroup": perElement(10),
  "rope/rope": ({ rows, heads, half }) => ({ flops: rows * heads * half * 6 }),
  "scale/scale": perElement(1),
  "swiglu/swiglu": perElement(5),
  "swiglu/swiglu-backward": perElement(10),
};

/** Kernels whose work is counted. */
export const countedKernels: readonly string[] = Object.keys(counts);

/** Work of one dispatch. @throws GpuError  a kernel that the table does not hold, or has for other Params; ranges that are not known */
export function costOf(kernel: string, dispatch: Dispatch, contents: Contents = {}): Cost {
  const count = Object.hasOwn(counts, kernel) ? counts[kernel] : undefined;
  if (!count) throw new GpuError(`profile: ${kernel}: expected a kernel of the table of costs, got another`);
  const { flops, bytes = distinctBytes(dispatch.tensors) } = count(dispatch.params, dispatch, contents);
  if (Number.isNaN(flops) || Number.isNaN(bytes))
    throw new GpuError(
      `profile: ${kernel}: expected Params that its cost is counted by, got ${JSON.stringify(dispatch.params)}`,
    );
  return { flops, bytes };
}

/** Work of several dispatches in the order of their run. */
export function addCosts(
  dispatches: readonly {
    readonly kernel: { readonly name: string };
    dispatch: Dispatch;
    contents: Contents;
  }[],
): { readonly flops: number; readonly bytes: number } {
  const sum = { flops: 0, bytes: 0 };
  let query = 0; // FLOPs of the latest attention's gradient of its queries
  for (const { kernel, dispatch, contents } of dispatches) {
    const { flops, bytes } = costOf(kernel.name, dispatch, contents);
    if (kernel.name.startsWith("attention/attention-backward-query")) query = flops ?? 0;
    sum.flops += flops ?? (4 / 3) * query; // of keys and values: four products of the same pairs, not three
    sum.bytes += bytes;
  }
  return sum;
}
