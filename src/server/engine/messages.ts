import type { WeightFormat } from "../../gpu/matrix.js";
import type { About, EngineCounts, Job, JobResult, LiveEvent, LiveOptions } from "./engine.js";
import type { Failure } from "./errors.js";

/** What the engine's process loads. */
export interface EngineSettings {
  /** Path of the checkpoint, and of the voice activity net. */
  readonly model: string;
  readonly vad: string;
  readonly lora?: readonly string[];
  readonly weights?: WeightFormat;
  /** Recordings whose files are read at once. */
  readonly jobs: number;
  /** Segments of all recordings that share batches. */
  readonly rows?: number;
}

/** From the server to the engine's process. */
export type Command =
  | { readonly type: "load"; readonly settings: EngineSettings }
  | { readonly type: "run"; readonly id: number; readonly job: Job; readonly deltas: boolean }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "open"; readonly id: number; readonly options: LiveOptions }
  | { readonly type: "push"; readonly id: number; readonly samples: Float32Array }
  | { readonly type: "commit" | "clear" | "close"; readonly id: number }
  | { readonly type: "count"; readonly id: number };

/** What a live session reports. */
export interface LiveReport {
  readonly type: "live";
  readonly id: number;
  readonly event: Exclude<LiveEvent, { type: "failed" }>;
}

/** From the engine's process to the server. */
export type Report =
  | { readonly type: "ready"; readonly about: About }
  | { readonly type: "refused"; readonly message: string }
  | { readonly type: "delta"; readonly id: number; readonly text: string }
  | { readonly type: "done"; readonly id: number; readonly result: JobResult }
  | { readonly type: "failed"; readonly id: number; readonly failure: Failure }
  | LiveReport
  | {
      readonly type: "counts";
      readonly id: number;
      readonly counts: Omit<EngineCounts, "restarts" | "hangs"> & {
        /** Pieces of work that were done. */
        readonly progress: number;
      };
    };
