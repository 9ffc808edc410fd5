import { weightFormat } from "../model/weight-pieces.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { ModelConfig } from "../model/config.js";
import type { MemoryUse } from "../model/memory.js";
import type { ParameterSource } from "../model/parameters.js";
import { elementCount } from "../shape.js";
import { type PlanOptions, trainingMemory, typicalBatch } from "./plan.js";

/** The format of a checkpoint's largest matrix as it is stored: what its frozen weights are planned in where none is asked for. */
export function storedFormat({ tensors }: Pick<ParameterSource, "tensors">): WeightFormat {
  let [largest, found]: [number, WeightFormat] = [0, "bf16"];
  for (const { dtype, shape } of tensors.values()) {
    const format = shape.length === 2 ? weightFormat(dtype, shape[1]) : undefined;
    if (!format || elementCount(shape) <= largest) continue;
    [largest, found] = [elementCount(shape), format];
  }
  return found;
}

/** A training, as the check before loading sees it. */
export interface PlannedTraining extends Omit<PlanOptions, "weights" | "batch"> {
  /** Tokens of a micro-batch at most. */
  readonly batchTokens: number;
  /** Of the checkpoint. */
  readonly stored: WeightFormat;
}

/** What a training takes, by the formula of `train --plan`. */
export function trainingUse(config: ModelConfig, planned: PlannedTraining): MemoryUse {
  const { batchTokens, stored, ...plan } = planned;
  return {
    need: (weights = stored) => {
      const memory = trainingMemory(config, { ...plan, weights, batch: typicalBatch(batchTokens) });
      return { weights: memory.frozenWeights, working: memory.total - memory.frozenWeights };
    },
    work: `to train ${plan.tune.join(", ")} on ${batchTokens} tokens a micro-batch`,
    lower: "a lower --batch-tokens",
  };
}
