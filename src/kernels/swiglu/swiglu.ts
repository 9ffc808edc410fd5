import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { swigluBackward } from "./swiglu-backward.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("swiglu/swiglu", perElement(5));
const threads = 64;
const each = 8; // elements of a thread: EACH of the kernel

/**
 * y = silu(gate) · up, per element.
 * @param gate  any shape, f32
 * @param up    the same shape, f32
 * @source transformers Qwen3MLP
 */
export function swiglu(gpu: Gpu, gate: Tensor, up: Tensor): Tensor {
  expectShape("swiglu", { up }, gate.shape);
  expectDType("swiglu", { gate, up }, "f32");
  const count = elementCount(gate.shape);
  const y = run(gpu, { gate, up, y: gpu.empty(gate.shape) }, { count, width: count, stride: count, up: 0 });
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [gate, up],
    saved: [gate, up],
    backward: (dy) => {
      const { dGate, dUp } = swigluBackward(gpu, dy, gate, up);
      tape.add(gate, dGate);
      tape.add(up, dUp);
    },
  });
  return y;
}

/**
 * y = silu(gate) · up, with both in one array.
 * @param both  [M, 2 F] f32: a row's F gates, then its F of up
 * @returns     [M, F] f32
 * @source transformers Qwen3MLP
 */
export function swigluJoined(gpu: Gpu, both: Tensor): Tensor {
  const [rows, stride] = expectMatrix("swiglu", { both });
  expectDType("swiglu", { both }, "f32");
  if (stride % 2 !== 0) throw new ShapeError(`swiglu: both must have even columns, got ${stride}`);
  gpu.tape?.refuse("swigluJoined", [both]);
  const width = stride / 2;
  const tensors = { gate: both, up: both, y: gpu.empty([rows, width]) };
  return run(gpu, tensors, { count: rows * width, width, stride, up: width });
}

function run(gpu: Gpu, tensors: Record<"gate" | "up" | "y", Tensor>, params: Record<string, number>): Tensor {
  const groups = Math.ceil(params.count / (threads * each));
  gpu.run(kernel, { params, tensors, groups, overrides: { WG: threads } });
  return tensors.y;
}
