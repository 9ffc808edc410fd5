import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { fsmnBackward } from "./fsmn-backward.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("fsmn/fsmn", ({ rows, width, taps }) => ({
  flops: rows * width * (2 * taps + 1),
}));
const threads = 64;

/**
 * The memory: v plus its depthwise convolution over time within each clip, zero padding.
 * @param v       [rows, width] f32
 * @param w       [width, 1, taps] f32
 * @param ranges  [rows, 2] u32, first row of the row's clip and one past its last
 * @param left    rows before a row that the taps reach. Default: (taps - 1) / 2. taps - 1 makes the
 *                memory causal
 * @returns       [rows, width] f32
 * @throws ShapeError  `left` is not from 0 to taps - 1
 * @source FunASR MultiHeadedAttentionSANM.forward_fsmn; with left = taps - 1, FSMNBlock.forward
 */
export function fsmn(
  gpu: Gpu,
  v: Tensor,
  w: Tensor,
  ranges: Tensor,
  { left: given }: { readonly left?: number } = {},
): Tensor {
  const [rows, width] = expectMatrix("fsmn", { v });
  const taps = elementCount(w.shape) / width;
  const left = given ?? (taps - 1) >> 1;
  expectShape("fsmn", { w }, [width, 1, taps]);
  expectShape("fsmn", { ranges }, [rows, 2]);
  expectDType("fsmn", { v, w }, "f32");
  expectDType("fsmn", { ranges }, "u32");
  if (!(Number.isInteger(left) && left >= 0 && left < taps))
    throw new ShapeError(`fsmn: left must be from 0 to ${taps - 1}, got ${left}`);
  const y = gpu.empty(v.shape);
  gpu.run(kernel, {
    params: { rows, width, taps, left },
    tensors: { v, w, ranges, y },
    groups: Math.ceil((rows * width) / threads),
    overrides: { WG: threads },
  });
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [v, w],
    saved: [v, ranges],
    backward: (dy) => {
      const { dx, dWeight } = fsmnBackward(gpu, dy, v, w, ranges, { left, weightGrad: tape.wants(w) });
      tape.add(v, dx);
      tape.add(w, dWeight);
    },
  });
  return y;
}
