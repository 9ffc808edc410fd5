import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const chunks = defineKernel("grad-norm/grad-norm", perElement(2));
const totals = defineKernel("grad-norm/grad-norm-total", (_, { tensors }) => ({
  flops: tensors.parts.bytes / 4,
}));
const threads = 64;
const chunk = threads * 64; // PER of the kernel

export interface GradNorm {
  /** [tensors] f32, each gradient's sum of squares: shows which one is not finite */
  readonly squares: Tensor;
  /**
   * [2] f32, norm over all gradients and the factor that clips them; the factor is -1 where the
   * norm is not finite
   */
  readonly clip: Tensor;
}

/**
 * The global gradient norm and the clipping factor min(1, maxNorm / (norm + 1e-6)), which stay on
 * the GPU for `adamw`.
 * @param gradients  any shapes, f32, at least one
 * @param maxNorm    0: no clipping
 * @source torch.nn.utils.clip_grad_norm_
 */
export function gradNorm(gpu: Gpu, gradients: readonly Tensor[], maxNorm: number): GradNorm {
  if (gradients.length === 0) throw new ShapeError("gradNorm: gradients must hold at least 1 tensor, got 0");
  const offsets = [0];
  for (const x of gradients) {
    expectDType("gradNorm", { gradient: x }, "f32");
    offsets.push(offsets.at(-1)! + Math.ceil(elementCount(x.shape) / chunk));
  }
  return gpu.scope(() => {
    const parts = gpu.empty([offsets.at(-1)!]);
    for (const [i, x] of gradients.entries()) {
      gpu.run(chunks, {
        params: { count: elementCount(x.shape), first: offsets[i] },
        tensors: { x, parts },
        groups: offsets[i + 1] - offsets[i],
        overrides: { WG: threads },
      });
    }
    const squares = gpu.empty([gradients.length]);
    const clip = gpu.empty([2]);
    gpu.run(totals, {
      params: { tensors: gradients.length, max_norm: maxNorm },
      tensors: { parts, offsets: gpu.upload(new Uint32Array(offsets), [offsets.length]), squares, clip },
      groups: 1,
      overrides: { WG: threads },
    });
    return { squares, clip };
  });
}
