import { createHash } from "node:crypto";
import { isObject } from "../json.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { Language } from "../tokenizer/languages.js";

/** How every utterance is transcribed; what is absent is as `transcribe` has it. */
export interface CorpusOptions {
  readonly language?: Language;
  readonly hotwords?: readonly string[];
  readonly context?: string;
  /** False: numbers as spoken. */
  readonly itn?: boolean;
  readonly weights?: WeightFormat;
  /** Channel of utterances that name none, counted from 1. */
  readonly channel?: number;
  /** Audio that is cut short or damaged is refused. */
  readonly strict?: boolean;
  readonly mergeSeconds?: number;
  /** ms */
  readonly maxEndSilence?: number;
  readonly maxTokens?: number;
  readonly repetitionPenalty?: number;
  /** Whether results have the times of words. */
  readonly wordTimes?: boolean;
}

/** Files that a result depends on, as the plan saw them. */
export interface PlannedFiles {
  /** As the user named it, or "demo" or "vad" of this package. */
  readonly name: string;
  /** SHA-256 of all that is read of it. */
  readonly sha256: string;
}

/** The plan of a corpus. */
export interface Manifest {
  /** SHA-256 of all that decides the results. */
  readonly id: string;
  readonly format: 1;
  /** Of this package. */
  readonly version: string;
  readonly model: PlannedFiles;
  readonly lora: readonly PlannedFiles[];
  readonly vad: PlannedFiles;
  readonly options: CorpusOptions;
  readonly inputs: readonly string[];
  /** Of shards, and of the parts that longer files are cut into, s. */
  readonly shardSeconds: number;
  readonly cutSeconds: number;
  /** SHA-256 of `shards.jsonl`, which has those of the shards. */
  readonly index: string;
  readonly shards: number;
  readonly utterances: number;
  /** As far as they are known. */
  readonly seconds: number;
  /** Utterances of unknown length. */
  readonly unknown: number;
  /** Lines of the input without an utterance. */
  readonly skipped: number;
}

/** What decides the results. */
export type Deciding = Pick<Manifest, "format" | "version" | "model" | "lora" | "vad" | "options" | "index">;

/** SHA-256 of all that decides the results; names of models do not. */
export function identityOf({ format, version, model, lora, vad, options, index }: Deciding): string {
  const files = [model, ...lora, vad].map((one) => one.sha256);
  const decides = JSON.stringify({ format, version, options, index, files });
  return createHash("sha256").update(decides).digest("hex");
}

/** Whether a value is a plan as it was written. */
export function isManifest(value: unknown): value is Manifest {
  if (!isObject(value)) return false;
  const { id, lora, model, vad, options } = value;
  const isWhole = Array.isArray(lora) && [model, vad, options, ...(lora as unknown[])].every(isObject);
  return isWhole && identityOf(value as unknown as Deciding) === id;
}
