import type { Gpu } from "../../gpu/device.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { columnSum, sumBlock } from "../column-sum/column-sum.js";
import { defineKernel } from "../variants.js";

const input = defineKernel("fsmn/fsmn-backward", ({ rows, width, taps }) => ({
  flops: rows * width * (2 * taps + 1),
}));
const weight = defineKernel("fsmn/fsmn-backward-weight", ({ rows, width, taps }) => ({
  flops: 2 * rows * width * taps,
}));
const threads = 64;

export interface FsmnGradients {
  /** [rows, width] f32 */
  readonly dx: Tensor;
  /** [width, 1, taps] f32, where `weightGrad` asks for it */
  readonly dWeight?: Tensor;
}

/**
 * Gradients of `fsmn` with respect to its input and, if wanted, its taps.
 * @param dy      [rows, width] f32
 * @param v       [rows, width] f32, the input of the forward op
 * @param w       [width, 1, taps] f32
 * @param ranges  [rows, 2] u32, first row of the row's clip and one past its last
 * @param left    as of the forward op
 * @source torch.autograd of FunASR MultiHeadedAttentionSANM.forward_fsmn
 */
export function fsmnBackward(
  gpu: Gpu,
  dy: Tensor,
  v: Tensor,
  w: Tensor,
  ranges: Tensor,
  { weightGrad = false, left: given }: { readonly weightGrad?: boolean; readonly left?: number } = {},
): FsmnGradients {
  const [rows, width] = expectMatrix("fsmnBackward", { v });
  const taps = elementCount(w.shape) / width;
  const left = given ?? (taps - 1) >> 1;
  expectShape("fsmnBackward", { dy }, v.shape);
  expectShape("fsmnBackward", { w }, [width, 1, taps]);
  expectShape("fsmnBackward", { ranges }, [rows, 2]);
  expectDType("fsmnBackward", { dy, v, w }, "f32");
  expectDType("fsmnBackward", { ranges }, "u32");
  const params = { rows, width, taps, left };
  const overrides = { WG: threads };
  return gpu.scope(() => {
    const dx = gpu.empty(v.shape);
    const groups = Math.ceil((rows * width) / threads);
    gpu.run(input, { params, tensors: { dy, w, ranges, dv: dx }, groups, overrides });
    if (!weightGrad) return { dx };
    const blocks = Math.ceil(rows / sumBlock);
    const y = gpu.empty([blocks, width * taps]);
    gpu.run(weight, {
      params: { ...params, blocks },
      tensors: { dy, v, ranges, y },
      groups: Math.ceil((blocks * width * taps) / threads),
      overrides,
    });
    return { dx, dWeight: { ...columnSum(gpu, y), shape: w.shape } };
  });
}
