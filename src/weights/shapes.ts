import { expectedTensors } from "../config/expected-tensors.js";
import type { ModelParts } from "../config/model-config.js";
import { elementCount } from "../shape.js";
import type { ParameterEntry, ParameterSource } from "./loader.js";

/** The parameters of a model as shapes alone, stored in bf16, for a device that counts. Nothing can be read from it. */
export function shapeSource(config: ModelParts, name = "shapes"): ParameterSource {
  const tensors = new Map<string, ParameterEntry>();
  for (const [tensor, shape] of expectedTensors(config))
    tensors.set(tensor, { name: tensor, dtype: "BF16", shape, byteLength: 2 * elementCount(shape) });
  const read = (): never => {
    throw new Error(`${name}: expected a device that counts, got one that reads weights`);
  };
  return { name, tensors, read };
}
