import type { Kernel } from "./kernel.js";
import type { Dispatch } from "./options.js";
import type { Tensor } from "./tensor.js";

/** One dispatch as the device takes it. */
export interface Command {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly x: number;
  readonly y: number;
  /** What it was made from. */
  readonly kernel: Kernel;
  readonly dispatch: Dispatch;
}

/** What a step recorded, to be submitted again. */
export interface Recording {
  readonly commands: readonly Command[];
  /** Parameters of all dispatches. */
  readonly params: Uint8Array;
  readonly results: readonly Tensor[];
  /** `Gpu.trim` calls before it: a later one may have destroyed its buffers. */
  readonly age: number;
}

/**
 * A step that is always the same: `Gpu.step` records it once and from then on submits what was recorded, without calling the
 * body. What changes between its runs stands in kept tensors. Its kept tensors must live as long as it is used.
 */
export class Program {
  recording?: Recording;
}

/** Adds a dispatch to a pass. */
export function encode(pass: GPUComputePassEncoder, { pipeline, group, x, y }: Command): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(x, y);
}
