import { weightFormat } from "../weights/pieces.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { ModelConfig } from "../config/model-config.js";
import type { MemoryUse } from "../weights/memory.js";
import type { ParameterSource } from "../weights/loader.js";
import { elementCount } from "../shape.js";
import { type PlanOptions, type TrainingMemory, trainingMemory, typicalBatch } from "./plan.js";

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
  /** Whether there is no step of cross-entropy. */
  readonly alignedOnly?: boolean;
}

/** What a training takes, by the formula of `train --plan`. */
export function trainingUse(config: ModelConfig, planned: PlannedTraining): MemoryUse {
  const { batchTokens, stored, alignedOnly = false, ...plan } = planned;
  const batch = typicalBatch(batchTokens);
  return {
    need: (weights = stored) => {
      const memory = trainingMemory(config, { ...plan, weights, batch });
      const working = alignedOnly
        ? alignmentBytes(config, { ...plan, weights, batch }, memory)
        : memory.total - memory.frozenWeights;
      return { weights: memory.frozenWeights, working };
    },
    work: `to ${alignedOnly ? "align" : "train"} ${plan.tune.join(", ")} on ${batchTokens} ${alignedOnly ? "frames" : "tokens"} a micro-batch`,
    lower: "a lower --batch-tokens",
  };
}

/** Of an alignment's step, or of a validation, which passes the LLM and keeps nothing for a backward pass, where that takes more. */
function alignmentBytes(config: ModelConfig, plan: PlanOptions, through: TrainingMemory): number {
  const { tokens: frames, answerTokens: contrasted } = plan.batch;
  const aligned = trainingMemory(config, {
    ...plan,
    batch: { frames, tokens: 0, answerTokens: 0, contrasted },
  });
  const step = aligned.activations + aligned.scores + aligned.working + aligned.transposed;
  return through.trained + Math.max(step, through.scores + through.working);
}
