import type { Gpu } from "../../gpu/device.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { fsmnBackward } from "./fsmn-backward.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("fsmn/fsmn", ({ rows, width, taps }) => ({
  flops: rows * width * (2 * taps + 1),
}));
const threads = 64;

/**
 * The SAN-M memory: v plus its depthwise convolution over time within each clip, zero padding,
 * (taps - 1) / 2 to the left.
 * @param v       [rows, width] f32
 * @param w       [width, 1, taps] f32
 * @param ranges  [rows, 2] u32, first row of the row's clip and one past its last
 * @returns       [rows, width] f32
 * @source FunASR MultiHeadedAttentionSANM.forward_fsmn
 */
export function fsmn(gpu: Gpu, v: Tensor, w: Tensor, ranges: Tensor): Tensor {
  const [rows, width] = expectMatrix("fsmn", { v });
  const taps = elementCount(w.shape) / width;
  expectShape("fsmn", { w }, [width, 1, taps]);
  expectShape("fsmn", { ranges }, [rows, 2]);
  expectDType("fsmn", { v, w }, "f32");
  expectDType("fsmn", { ranges }, "u32");
  const y = gpu.empty(v.shape);
  gpu.run(kernel, {
    params: { rows, width, taps, left: Math.floor((taps - 1) / 2) },
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
      const { dx, dWeight } = fsmnBackward(gpu, dy, v, w, ranges, { weightGrad: tape.wants(w) });
      tape.add(v, dx);
      tape.add(w, dWeight);
    },
  });
  return y;
}
