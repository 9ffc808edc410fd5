import { expectedTensors } from "../config/expected-tensors.js";
import type { ModelParts } from "../config/model-config.js";
import { elementCount } from "../shape.js";
import type { ParameterEntry, ParameterSource } from "./loader.js";

/** A model's parameters as bf16 shapes without bytes, for a counting device. Reading throws. */
export function shapeSource(config: ModelParts, name = "shapes"): ParameterSource {
  const tensors = new Map<string, ParameterEntry>();
  for (const [tensor, shape] of expectedTensors(config))
    tensors.set(tensor, { name: tensor, dtype: "BF16", shape, byteLength: 2 * elementCount(shape) });
  const read = (): never => {
    throw new Error(`${name}: expected a device that counts, got one that reads weights`);
  };
  return { name, tensors, read };
}
