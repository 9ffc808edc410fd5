import type { FailureKind, Heard, Item } from "../item.js";
import type { CorpusOptions } from "../manifest.js";

/** What the engine's process loads. */
export interface LoadSettings {
  /** Paths. */
  readonly model: string;
  readonly vad: string;
  readonly lora: readonly string[];
  readonly options: CorpusOptions;
}

/** From the worker to its engine's process. */
export type Command =
  | { readonly type: "load"; readonly settings: LoadSettings }
  | { readonly type: "run"; readonly id: number; readonly item: Item }
  | { readonly type: "cancel"; readonly id: number };

/** From the engine's process; `gpuSeconds` are those since its start. */
export type Report =
  | { readonly type: "ready"; readonly device: string; readonly warnings: readonly string[] }
  | { readonly type: "refused"; readonly message: string }
  | { readonly type: "done"; readonly id: number; readonly heard: Heard; readonly gpuSeconds: number }
  | {
      readonly type: "failed";
      readonly id: number;
      /** "passing": another try may succeed. */
      readonly kind: FailureKind | "passing";
      readonly message: string;
    };
