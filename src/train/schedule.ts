/** Curve of the learning rate over the optimiser steps. */
export interface Schedule {
  /** Highest learning rate. */
  readonly peak: number;
  /** Steps over which it rises in a line; the first step has peak / warmup. 0: none. */
  readonly warmup: number;
  /** Steps in all: where the cosine ends. */
  readonly total: number;
  /** After the warm-up: down half a cosine to `floor` times the peak, or level. */
  readonly shape: "cosine" | "constant";
  readonly floor: number;
}

/**
 * Learning rate of one optimiser step.
 * @param step  from 0
 * @source transformers get_cosine_schedule_with_warmup, get_constant_schedule_with_warmup, one step
 *         further: no step has rate 0
 */
export function learningRate({ peak, warmup, total, shape, floor }: Schedule, step: number): number {
  if (step < warmup) return (peak * (step + 1)) / warmup;
  if (shape === "constant") return peak;
  const done = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
  return peak * (floor + ((1 - floor) * (1 + Math.cos(Math.PI * done))) / 2);
}
