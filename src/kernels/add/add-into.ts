import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("add/add-into", perElement(1));
const threads = 64;

/**
 * into += x, per element, in place.
 * @param into  any shape, f32
 * @param x     as many values, f32
 */
export function addInto(gpu: Gpu, into: Tensor, x: Tensor): void {
  const count = elementCount(into.shape);
  if (elementCount(x.shape) !== count) {
    throw new ShapeError(`addInto: x must have ${count} values, got [${x.shape.join(", ")}]`);
  }
  expectDType("addInto", { into, x }, "f32");
  gpu.run(kernel, {
    params: { count },
    tensors: { x, into },
    groups: Math.ceil(count / threads),
    overrides: { WG: threads },
  });
}
