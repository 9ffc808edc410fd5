import type { Spread } from "../../src/profile/ceiling.js";

/** So many clients, each of which sends its next clip when the last one is answered. */
export interface ClientsResult {
  readonly clients: number;
  /** Clips a second, of the rounds. */
  readonly clipsPerSecond: Spread;
  /** Seconds of audio in a second, median of the rounds. */
  readonly timesRealTime: number;
  /** Seconds from a request to the end of its answer, of all rounds together. */
  readonly seconds: Quantiles;
  /** Seconds to the first word of a streamed answer. */
  readonly firstWord: Quantiles;
}

export interface Quantiles {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Between requests, when nothing runs. */
export interface MemorySample {
  /** Requests that were answered so far. */
  readonly requests: number;
  /** Resident bytes of the process that listens, and of the engine's. */
  readonly server: number;
  readonly engine: number;
  /** Bytes of all buffers on the GPU, and of the weights among them. */
  readonly gpu: number;
  readonly weights: number;
  /** Uploads on the disk. */
  readonly uploads: number;
}

/** A file of `npm run bench:serve`. */
export interface ServeResults {
  readonly command: string;
  readonly commit: string;
  readonly adapter: string;
  readonly node: string;
  readonly cores: number;
  readonly cpu: string;
  /** Load averages of the machine over 1 minute, before and after. */
  readonly load: readonly [number, number];
  readonly rounds: number;
  /** Of each round. */
  readonly seconds: number;
  readonly clips: number;
  readonly audioSeconds: number;
  readonly clients: readonly ClientsResult[];
  /** Requests at random moments, at half of the best rate. */
  readonly half: { readonly perSecond: number; readonly seconds: Quantiles; readonly firstWord: Quantiles };
  readonly memory: readonly MemorySample[];
  /** Answers that were compared with the clip's text alone, and those that differ. */
  readonly answers: { readonly compared: number; readonly different: number; readonly failed: number };
  readonly queue: {
    readonly clients: number;
    readonly places: number;
    /** Requests with audio that were open at once, at most. */
    readonly mostOpen: number;
    readonly answered: number;
    readonly refused: number;
    /** Refusals without a time to come back, and answers that are neither. */
    readonly other: number;
  };
}

export function quantiles(values: readonly number[]): Quantiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? NaN;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: sorted[0], median: sorted[sorted.length >> 1], max: sorted[sorted.length - 1] };
}
