import type { Ceilings, Spread } from "../../src/profile/ceiling.js";
import type { FullSizeResult } from "./full-size.js";
import type { LlamaResult } from "./llama.js";

/** Cost against size, and the exponent of its least squares fit. */
export interface Growth {
  /** [size, milliseconds (the middle of all)] */
  readonly points: readonly (readonly [number, number])[];
  readonly exponent: number;
}

/** What bench/results/peers-*.json holds: seconds by contender, unless named otherwise. */
export interface PeerResults {
  readonly machine: Readonly<Record<string, string | number>>;
  readonly rounds: number;
  /** Milliseconds without work before each timed run. */
  readonly rest?: number;
  readonly ceilings: Ceilings;
  /**
   * 128×1024×3072: whole calls with upload and readback; "… kernel" is the kernel alone, by
   * timestamps.
   */
  gemm?: Readonly<Record<string, Spread>>;
  /**
   * 1×1024×16384, the same; "… of 4" is a product among 4 with one upload, one wait and one
   * readback, each with its own weights.
   */
  gemv?: Readonly<Record<string, Spread>>;
  /** 300 additions that wait for each other, by this engine and by bare WebGPU. */
  chain?: Readonly<Record<"engine" | "bare", Spread>>;
  /** `transcribe` with the demo checkpoint: with an empty shader cache, then with a filled one. */
  start?: {
    readonly coldSeconds: { readonly first: number; readonly whole: number };
    readonly firstOutput: Spread;
    readonly whole: Spread;
  };
  /** Clips a second of batches of 1 and 8. */
  batch?: Readonly<Record<"1" | "8", Spread>>;
  growth?: { readonly encoder: Growth; readonly prefill: Growth; readonly decode: Growth };
  fullSize?: FullSizeResult;
  /** One layer of the model's Qwen3 and the final norm, 128 rows. */
  layer?: Readonly<Record<string, Spread>>;
  llama?: LlamaResult;
}
