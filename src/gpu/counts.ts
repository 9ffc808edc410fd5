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
