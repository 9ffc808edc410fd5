import type { Gpu, TensorData } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { gradNorm } from "../kernels/grad-norm/grad-norm.js";
import type { FunAsrNano } from "../model/fun-asr-nano.js";
import type { Tap } from "../model/taps.js";
import { TrainError } from "./errors.js";
import type { Optimiser } from "./optimiser.js";
import { sum } from "../arrays.js";
import type { MicroBatch, Stage } from "./stages.js";

interface Parts {
  readonly gpu: Gpu;
  readonly model: FunAsrNano;
  readonly optimiser: Optimiser;
}

/**
 * Names the first tensor that is not finite: the stage's forward pass is run again, stage by stage,
 * with the weights as they were (an update from such gradients changes nothing); where all stages
 * are finite, it is a gradient; where those are too, it is the loss, which the CPU computed of the
 * stage's outputs.
 * @param squares  each gradient's sum of squares
 */
export async function explainNonFinite(
  { gpu, model, optimiser }: Parts,
  stage: Pick<Stage, "tapped" | "rateOption" | "loss">,
  step: number,
  batches: readonly MicroBatch[],
  squares: ArrayLike<number>,
): Promise<TrainError> {
  const advice = `lower ${stage.rateOption} or --clip, or check the data; the saved state is the last good one`;
  const notFinite = (tensor: string): TrainError =>
    new TrainError(`step ${step}: expected finite numbers, got some that are not in ${tensor}; ${advice}`);
  for (const batch of batches) {
    const tensor = await firstNonFinite(gpu, (tap) => stage.tapped(gpu, model, batch, tap));
    if (tensor !== undefined) return notFinite(tensor);
  }
  // The norm of finite gradients may pass f32.
  if (Number.isFinite(Math.fround(sum(Array.from(squares))))) return notFinite(`the ${stage.loss}'s loss`);
  const name = optimiser.entries.find((_, i) => !Number.isFinite(squares[i]))?.name ?? "all together";
  return new TrainError(
    `step ${step}: expected finite gradients, got some that are not in that of ${name}; ${advice}`,
  );
}

async function firstNonFinite(gpu: Gpu, forward: (tap: Tap) => void): Promise<string | undefined> {
  const stages: string[] = [];
  const reads: Promise<TensorData>[] = [];
  const tap = (stage: string, tensor: Tensor): void => {
    stages.push(stage);
    reads.push(gpu.read(gradNorm(gpu, [tensor], 0).squares));
  };
  await gpu.step(() => {
    forward(tap);
    return [];
  });
  const sums = await Promise.all(reads);
  const first = sums.findIndex((sum) => !Number.isFinite(sum[0]));
  return first < 0 ? undefined : stages[first];
}
