import type { BleuTokenizer } from "./metrics/bleu-tokenizers.js";
import type { Normalizer } from "./metrics/text-form.js";
import type { RunSettings, SecondOfAudio } from "./run.js";
import type { Summary } from "./summary.js";

/** Costs of a run with the weights in one format. */
export interface Measured {
  /** Bytes of the weights on the GPU. */
  readonly weightBytes: number;
  /** Reading the checkpoint and putting it on the GPU. */
  readonly loadSeconds: number;
  /** A first short clip, which makes the pipelines. */
  readonly warmUpSeconds: number;
  /** All GPU buffers of the package at their most. */
  readonly gpuPeakBytes: number;
  /**
   * The process's resident memory at its most, as seen at each stage; on a software adapter the
   * GPU's bytes are in it.
   */
  readonly residentPeakBytes: number;
  /** One second of audio, where it was timed. */
  readonly second?: SecondOfAudio;
  /** Of the checkpoint, and of the language asked for. */
  readonly warnings?: readonly string[];
}

/** A run with the weights in one format. */
export interface FormatResult {
  /** A weight format, or "stored": as in the checkpoint. */
  readonly weights: string;
  readonly measured: Measured;
  readonly summary: Summary;
  /**
   * Share of the forced positions at which the first format of the run has the same likeliest
   * token.
   */
  readonly agreesWithFirst?: number;
}

/** The contents of report.json. */
export interface EvaluationReport {
  readonly model: string;
  readonly data: string | null;
  readonly device: string;
  readonly settings: RunSettings & {
    readonly tokenizer?: BleuTokenizer;
    readonly normalize: readonly Normalizer[];
  };
  /** Lines of the data that hold no utterance. */
  readonly badLines: number;
  readonly results: readonly FormatResult[];
}
