import type { TranscriptSegment } from "../../decode/segments/recording.js";
import type { Language, LanguageCode } from "../../tokenizer/languages.js";

/** What is asked of the model, beside the audio. */
export interface Wish {
  readonly language?: Language;
  readonly hotwords?: readonly string[];
  readonly context?: string;
  /** False: numbers as spoken. */
  readonly itn?: boolean;
}

/** A recording to transcribe or translate. */
export interface Job extends Wish {
  /** Path of the audio, on the disk that server and engine share. */
  readonly file: string;
  /** Name of the audio in errors. */
  readonly name: string;
  /** The words as spoken, or in English. */
  readonly task: "transcribe" | "translate";
  /** Times of words, where the checkpoint has a CTC head. */
  readonly words: boolean;
  /** Segments of speech whatever the length; absent: only of long recordings. */
  readonly cut?: { readonly maxEndSilenceMs?: number };
  /** A longer recording is refused. */
  readonly maxSeconds: number;
}

/** What a job gave. */
export interface JobResult {
  readonly text: string;
  readonly segments: readonly TranscriptSegment[];
  /** Of the recording. */
  readonly audioSeconds: number;
  /** From the begin of the work to its end. */
  readonly workSeconds: number;
  readonly tokens: { readonly audio: number; readonly text: number; readonly output: number };
  /** What is strange about the audio, such as an end that is missing. */
  readonly warnings?: readonly string[];
}

/** What happens to a job while it runs. */
export interface JobEvents {
  /** Text as it comes; all of it joined is the result's text, but where a repeating cycle was cut. */
  readonly onDelta?: (text: string) => void;
  /** Aborts the job. */
  readonly signal?: AbortSignal;
}

/** Audio that is transcribed while it comes. */
export interface LiveOptions extends Wish {
  /** Whether the engine finds where speech ends. False: `commit` alone ends a segment. */
  readonly endpoints: boolean;
  /** Silence that ends a segment, ms. Default: 800. */
  readonly maxEndSilenceMs?: number;
  /** Whether the text of the open segment is wanted. */
  readonly partials: boolean;
  /** Whether final texts may differ from the stable words before them. Default: false. */
  readonly freeFinal?: boolean;
  readonly words: boolean;
}

/** What a live session reports; times in seconds from its begin. */
export type LiveEvent =
  | { readonly type: "started"; readonly start: number }
  | { readonly type: "partial"; readonly start: number; readonly stable: string; readonly tentative: string }
  | { readonly type: "stopped"; readonly start: number; readonly end: number }
  | { readonly type: "final"; readonly segment: TranscriptSegment }
  /** So much audio was worked on. */
  | { readonly type: "heard"; readonly seconds: number }
  /** Everything before a `commit` has its final text. */
  | { readonly type: "committed"; readonly seconds: number }
  | { readonly type: "failed"; readonly error: Error };

/** A live session. */
export interface LiveSession {
  /** @param samples  [n] f32, 16 kHz, range [-1, 1] */
  push(samples: Float32Array): void;
  /** Ends the open segment; `committed` follows its final text. */
  commit(): void;
  /** Drops the audio since the last final text. */
  clear(): void;
  /** Ends the session; no event follows. */
  close(): void;
}

/** The model and where it runs. */
export interface About {
  /** Name of the adapter. */
  readonly device: string;
  /** Languages the checkpoint knows; undefined where nothing says so. */
  readonly languages: readonly LanguageCode[] | undefined;
  /** Whether it has times of words. */
  readonly words: boolean;
  /** Contradictions between its files. */
  readonly warnings: readonly string[];
}

/** What an engine does, and did. */
export interface EngineCounts {
  /** Jobs and segments that wait. */
  readonly queued: number;
  readonly running: number;
  readonly tokens: number;
  /** Bytes of GPU buffers: of the weights, and all. */
  readonly gpuKept: number;
  readonly gpuReserved: number;
  /** How often the process was started again. */
  readonly restarts: number;
  /** How often it was ended because it got nothing done. */
  readonly hangs: number;
}

/** The engine as the HTTP side uses it. */
export interface Engine {
  readonly state: "starting" | "ready" | "restarting" | "stopped";
  /** Known once the model is loaded. */
  readonly about: About | undefined;
  /** @throws EngineError */
  run(job: Job, events?: JobEvents): Promise<JobResult>;
  open(options: LiveOptions, listener: (event: LiveEvent) => void): LiveSession;
  counts(): Promise<EngineCounts>;
}
