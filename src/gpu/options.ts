import type { Overrides } from "./kernel.js";
import type { Tensor } from "./tensor.js";
import type { Tuning } from "./tuning.js";

/** What a kernel call needs. Tensors are bound by the names that the WGSL file gives them. */
export interface Dispatch {
  readonly params: Readonly<Record<string, number>>;
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** Workgroups wanted; more than 65,535 are folded into a second dimension (see `foldGroups`). */
  readonly groups: number;
  readonly overrides?: Overrides;
}

export interface GpuOptions {
  /** How to wait for the device; software adapters want a wait that leaves the cores to the driver. */
  readonly wait?: <T>(promise: Promise<T>) => Promise<T>;
  /** Bytes of buffers at most; default: what the device grants. */
  readonly memoryLimit?: number;
  /** Lanes of every subgroup, where the adapter has one size and the device the feature `subgroups`; else undefined. */
  readonly subgroupSize?: number;
  /** Sizes of kernels that were measured on this adapter. Default: the usual ones. */
  readonly tuning?: Tuning;
  /** Bind groups kept at most, at least 1. Default: 16,384. */
  readonly bindGroups?: number;
}

/** Counts since the device was opened. */
export interface GpuCounts {
  readonly dispatches: number;
  readonly submits: number;
  readonly pipelines: number;
  readonly bindGroups: number;
}

/** Bytes of GPU buffers. */
export interface GpuBytes {
  /** Of model and session. */
  readonly kept: number;
  /** What a running step holds. */
  readonly live: number;
  /** All that were made and not destroyed. */
  readonly reserved: number;
  /** The most that `reserved` has been. */
  readonly peak: number;
}
