import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import type { Matrix } from "../../gpu/matrix.js";
import { type Tensor, expectMatrix } from "../../gpu/tensor.js";
import { copyRows, takeRows } from "../copy-rows/copy-rows.js";
import { linearInputGrad } from "../linear/linear-backward.js";
import { linear } from "../linear/linear.js";
import { runCrossEntropy } from "./variants.js";

/** Bytes of scores [rows, V] f32 that are on the GPU at a time; one row is always allowed. */
const scoreBudget = 64 * 2 ** 20;

export interface CrossEntropyOptions {
  /** What the sum of the losses is divided by where its gradient is taken. Default: the rows. */
  readonly denominator?: number;
  /** Share of each target that is spread over the vocabulary. Default: 0. */
  readonly labelSmoothing?: number;
  /** Default: scoreBudget. */
  readonly budgetBytes?: number;
}

/**
 * Cross-entropy of a frozen head's scores, fused with the head: rows go through in chunks, so that
 * no more scores than the budget exist at a time. With a tape that wants it, the gradient of Σ
 * losses / denominator is made in the same pass and added to hidden's: nothing need flow into the
 * losses.
 * @param hidden  [R, D] f32, the rows that have a label
 * @param head    [V, D] in any storage format
 * @param labels  R token ids
 * @returns       [R] f32, in nats
 * @throws ShapeError  labels that are not R ids below V
 * @source torch.nn.functional.cross_entropy, reduction "none"
 */
export function crossEntropy(
  gpu: Gpu,
  hidden: Tensor,
  head: Matrix,
  labels: readonly number[],
  options: CrossEntropyOptions = {},
): Tensor {
  const [rows] = expectMatrix("crossEntropy", { hidden });
  if (labels.length !== rows)
    throw new ShapeError(`crossEntropy: labels must be ${rows}, got ${labels.length}`);
  const outside = labels.find((id) => !(Number.isInteger(id) && id >= 0 && id < head.rows));
  if (outside !== undefined)
    throw new ShapeError(`crossEntropy: labels must lie below ${head.rows}, got ${outside}`);
  const { tape } = gpu;
  tape?.refuse("crossEntropy", [head.pieces[0].tensor]);
  const losses = gpu.empty([rows]);
  const wanted = tape?.wants(hidden) ?? false;
  const gradient = wanted ? gpu.empty(hidden.shape) : undefined;
  gpu.tape = undefined;
  try {
    const call = { hidden, head, ids: gpu.upload(new Uint32Array(labels), [rows]), losses, gradient };
    const budget = Math.min(
      options.budgetBytes ?? scoreBudget,
      gpu.device.limits.maxStorageBufferBindingSize,
    );
    const chunk = Math.max(1, Math.floor(budget / (4 * head.rows)));
    for (let first = 0; first < rows; first += chunk) {
      gpu.scope(() => {
        scoreRows(gpu, call, [first, Math.min(first + chunk, rows)], options);
      });
    }
    if (gradient) tape?.add(hidden, gradient);
  } finally {
    gpu.tape = tape;
  }
  return losses;
}

interface Call {
  readonly hidden: Tensor;
  readonly head: Matrix;
  readonly ids: Tensor;
  readonly losses: Tensor;
  readonly gradient?: Tensor;
}

/** Losses, and the gradient of hidden, of the rows [first, end). */
function scoreRows(
  gpu: Gpu,
  { hidden, head, ids, losses, gradient }: Call,
  [first, end]: readonly [number, number],
  { denominator = hidden.shape[0], labelSmoothing = 0 }: CrossEntropyOptions,
): void {
  const count = end - first;
  const whole = count === hidden.shape[0];
  const indices = Array.from({ length: count }, (_, i) => first + i);
  const x = linear(gpu, whole ? hidden : takeRows(gpu, hidden, indices), head);
  const params = { first, smoothing: labelSmoothing, factor: 1 / denominator };
  runCrossEntropy(gpu, { labels: ids, x, losses }, params, gradient !== undefined);
  if (!gradient) return;
  const pairs = gpu.upload(new Uint32Array(indices.flatMap((row, i) => [i, row])), [count, 2]);
  copyRows(gpu, linearInputGrad(gpu, x, head), pairs, gradient);
}
