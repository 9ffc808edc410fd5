import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { type YarnScaling, rotaryFrequencies } from "../../config/yarn.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("rope/rope", ({ rows, heads, half }) => ({ flops: rows * heads * half * 6 }));
const threads = 64;

/**
 * Cosines and sines of rotary positions, computed in double precision and rounded once.
 * @param positions  position of each row
 * @param headDim    even; pair i turns by position · theta^(-2i / headDim)
 * @param scaling    YaRN, which slows pairs and multiplies cosines and sines
 * @returns          [rows, headDim / 2, 2] f32, cosine and sine
 * @source transformers Qwen3RotaryEmbedding, rope_type "default" or "yarn"
 */
export function ropeAngles(
  positions: readonly number[],
  headDim: number,
  theta: number,
  scaling?: YarnScaling,
): Float32Array<ArrayBuffer> {
  const half = headDim / 2;
  const angles = new Float32Array(positions.length * headDim);
  const frequencies = rotaryFrequencies(headDim, theta, scaling);
  const factor = scaling?.attentionFactor ?? 1;
  for (const [row, position] of positions.entries()) {
    for (let i = 0; i < half; i++) {
      const angle = position * frequencies[i];
      angles[2 * (row * half + i)] = factor * Math.cos(angle);
      angles[2 * (row * half + i) + 1] = factor * Math.sin(angle);
    }
  }
  return angles;
}

function turn(gpu: Gpu, op: string, x: Tensor, angles: Tensor, inverse: boolean): Tensor {
  const [rows, width] = expectMatrix(op, { x });
  const half = elementCount(angles.shape) / rows / 2;
  expectShape(op, { angles }, [rows, half, 2]);
  if (width % (2 * half) !== 0) {
    throw new ShapeError(`${op}: x must have whole heads of ${2 * half} columns, got ${width}`);
  }
  expectDType(op, { x, angles }, "f32");
  const y = gpu.empty(x.shape);
  const heads = width / (2 * half);
  gpu.run(kernel, {
    params: { rows, heads, half },
    tensors: { x, angles, y },
    groups: Math.ceil((rows * half) / threads),
    overrides: { WG: threads, INVERSE: inverse },
  });
  return y;
}

/**
 * Rotary position embedding, rotate-half form.
 * @param x       [rows, heads · headDim] f32
 * @param angles  [rows, headDim / 2, 2] f32, as `ropeAngles` makes them
 * @returns       [rows, heads · headDim] f32
 * @source transformers apply_rotary_pos_emb
 */
export function rope(gpu: Gpu, x: Tensor, angles: Tensor): Tensor {
  const y = turn(gpu, "rope", x, angles, false);
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [x],
    saved: [angles],
    backward: (dy) => tape.add(x, ropeBackward(gpu, dy, angles)),
  });
  return y;
}

/**
 * Gradient of `rope` with respect to its input: the turn by the opposite angles.
 * @param dy      [rows, heads · headDim] f32
 * @param angles  [rows, headDim / 2, 2] f32, those of the forward op
 * @returns       [rows, heads · headDim] f32
 * @source torch.autograd of transformers apply_rotary_pos_emb
 */
export function ropeBackward(gpu: Gpu, dy: Tensor, angles: Tensor): Tensor {
  return turn(gpu, "ropeBackward", dy, angles, true);
}
