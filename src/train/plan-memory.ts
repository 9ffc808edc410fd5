import type { ModelConfig } from "../config/model-config.js";
import type { ParameterSource } from "../weights/loader.js";
import type { MemoryUse } from "../weights/memory.js";
import { CountedTraining, type TrainedModel } from "./counted.js";
import { alignedBatch, typicalBatch } from "./plan.js";

/** Settings of a training for the check before loading. */
export interface PlannedTraining extends Omit<TrainedModel, "weights"> {
  /** Tokens of a micro-batch at most. */
  readonly batchTokens: number;
  /** Whether there is no step of cross-entropy. */
  readonly alignedOnly?: boolean;
}

/** Memory of a training, counted as `train --plan` does. */
export function trainingUse(
  config: ModelConfig,
  source: ParameterSource,
  { batchTokens, alignedOnly = false, ...plan }: PlannedTraining,
): MemoryUse {
  const rows = typicalBatch(batchTokens);
  return {
    count: async (gpu, weights) => {
      const empty = gpu.bytes.reserved;
      const training = await CountedTraining.load(gpu, config, source, { ...plan, weights });
      if (alignedOnly) {
        await training.step(alignedBatch(batchTokens, config));
        gpu.trim();
        await training.validate(rows); // passes the LLM
      } else await training.step(rows);
      return { weights: training.frozenBytes, working: gpu.bytes.peak - empty - training.frozenBytes };
    },
    work: `to ${alignedOnly ? "align" : "train"} ${plan.tune.join(", ")} on ${batchTokens} ${alignedOnly ? "frames" : "tokens"} a micro-batch`,
    lower: "a lower --batch-tokens",
  };
}
