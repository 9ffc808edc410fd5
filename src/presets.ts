/** What an adapter can do at most. */
export interface Adapter {
  readonly name: string;
  /** Bytes a second. */
  readonly bandwidth: number;
  /** FLOPs a second in f32, without tensor units. */
  readonly flops: number;
  /** Seconds that a dispatch takes which has next to nothing to do. */
  readonly dispatch: number;
  /** Seconds from submitting a step to having its result. Absent: not counted. */
  readonly readback?: number;
}

/**
 * Share of a peak that plain f32 kernels are taken to reach where nothing was measured: a third of
 * the arithmetic, 70 % of the bandwidth.
 */
export const efficiency = { flops: 1 / 3, bandwidth: 0.7 } as const;

/** Seconds that a dispatch is taken to cost on a GPU where nothing was measured. */
const usualDispatch = 5e-6;

/** Peak f32 arithmetic, TFLOP/s, and memory bandwidth, GB/s. @source the makers' data sheets */
const peaks: readonly (readonly [string, number, number])[] = [
  ["Apple M1", 2.6, 68],
  ["Apple M2 Max", 13.6, 400],
  ["Apple M4 Max", 18.4, 546],
  ["RTX 4090", 82.6, 1008],
  ["H100 SXM", 66.9, 3350],
];

/** GPUs by their data sheets. */
export const adapters: readonly Adapter[] = peaks.map(([name, teraflops, gigabytes]) => ({
  name,
  bandwidth: gigabytes * 1e9,
  flops: teraflops * 1e12,
  dispatch: usualDispatch,
}));
