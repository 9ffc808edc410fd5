import type { LiveEvent, LiveOptions } from "../decode/live/options.js";
import type { TranscriptSegment } from "../decode/segments/recording.js";
import type { RecordingTranscription } from "../decode/segments/transcribe-recording.js";
import type { TranscribeOptions } from "../decode/transcriber.js";
import type { Spread } from "../profile/ceiling.js";
import type { TargetLanguage } from "../tokenizer/translation.js";
import type { StageResult } from "../verify/compare.js";
import type { WeightFormat } from "../weights/loader.js";
import type { WireError } from "./errors.js";
import type { DirectoryHandle } from "./platform.js";

/** Where a model's files come from. */
export type ModelChoice =
  /** A folder on a web server, with a listing `files.json`: see docs/browser.md. */
  | { readonly url: string }
  /** OWNER/NAME[@REVISION] on a hub. Default endpoint: the Hugging Face hub's. */
  | { readonly hub: string; readonly endpoint?: string; readonly token?: string }
  /** A folder that the user picked, as `showDirectoryPicker()` gives. */
  | { readonly directory: DirectoryHandle }
  /** Files that the user picked, all of one folder: an array, or the FileList of an input. */
  | { readonly files: Iterable<File> };

/** What the worker opens and loads. */
export interface StartOptions {
  /** The checkpoint. Absent: none; the device alone, for `verify` and `bench`. */
  readonly model?: ModelChoice | undefined;
  /** The voice activity net. Absent: no recordings above a minute, and no live speech. */
  readonly vad?: ModelChoice | undefined;
  /** Storage of the weights on the GPU. Default: as in the checkpoint. */
  readonly weights?: WeightFormat | undefined;
  /** Whether kernels use subgroups where the adapter has them in one size. Default: true. */
  readonly subgroups?: boolean | undefined;
  /** Whether downloads are kept in the browser's storage. Default: true. */
  readonly cache?: boolean | undefined;
}

/** What happens while a model is opened. Bytes are of the model, or of the voice activity net. */
export interface StartProgress {
  readonly part: "model" | "vad";
  readonly stage: "download" | "load" | "compile";
  readonly done: number;
  readonly total: number;
}

/** What the worker opened. */
export interface EngineFacts {
  /** The adapter's name, as far as the browser says it. */
  readonly adapter: {
    readonly vendor: string;
    readonly architecture: string;
    readonly device: string;
    readonly description: string;
  };
  /** "vulkan", "metal", "d3d12" …, or "WebGPU" where the browser does not say. */
  readonly backend: string;
  /** Whether the adapter is a program on the CPU. */
  readonly software: boolean;
  /** Lanes of a subgroup that kernels use; undefined: they do without. */
  readonly subgroups: number | undefined;
  readonly limits: { readonly maxBufferSize: number; readonly maxStorageBufferBindingSize: number };
  /** Absent without a model. */
  readonly model?: ModelFacts;
  /** Whether there is a voice activity net. */
  readonly hasVad: boolean;
}

/** What a page may offer of a checkpoint. */
export interface ModelFacts {
  readonly name: string;
  /** Codes; undefined where the checkpoint does not say. */
  readonly languages: readonly string[] | undefined;
  /** Whether its language model is of the size of those that translate. */
  readonly canTranslate: boolean;
  readonly hasWordTimes: boolean;
  /** Clips up to this length run whole, seconds. */
  readonly wholeSeconds: number;
  readonly warnings: readonly string[];
}

/** Bytes of GPU buffers, and what the engine did. */
export interface EngineMemory {
  readonly kept: number;
  readonly live: number;
  readonly reserved: number;
  readonly peak: number;
}

/** How audio is transcribed. */
export interface TranscribeRequest extends Pick<
  TranscribeOptions,
  "language" | "hotwords" | "context" | "itn" | "prompt" | "maxNewTokens" | "repetitionPenalty" | "wordTimes"
> {
  /** Its name in errors. Default: the file's. */
  readonly name?: string;
  /** Translates into this language in place of transcribing. */
  readonly to?: TargetLanguage;
  /** True: voice activity cuts clips of any length. Default: those that are too long to run whole. */
  readonly cut?: boolean;
  /** As RecordingTranscribeOptions. */
  readonly maxEndSilenceMs?: number;
  readonly mergeMs?: number;
}

/** What a transcription reports; times in seconds from the recording's begin. */
export type TranscribeEvent =
  /** Seconds that are done, and in all as far as is known. */
  | { readonly type: "progress"; readonly seconds: number; readonly total: number | undefined }
  /** Text that is being decoded. `tentative` may change until its segment comes. */
  | { readonly type: "partial"; readonly stable: string; readonly tentative: string }
  | { readonly type: "segment"; readonly segment: TranscriptSegment }
  /** The device was lost, and the audio is transcribed again from its begin. */
  | { readonly type: "repeated"; readonly reason: string };

/** A recording's text. */
export interface TranscribeResult extends RecordingTranscription {
  /** Seconds of work on it. */
  readonly workSeconds: number;
  /** What the file lost, and warnings of its channels. */
  readonly warnings: readonly string[];
}

/** What live speech takes. */
export type LiveRequest = Omit<LiveOptions, "name">;

/** A golden bundle: a file, or its address and, perhaps, the SHA-256 that it has to have. */
export type BundleChoice =
  { readonly file: File } | { readonly url: string; readonly name?: string; readonly sha256?: string };

/** A bundle's verdict. */
export interface VerifyRow {
  /** The bundle's case, or the file's name where it could not be read. */
  readonly bundle: string;
  readonly kind: string;
  readonly stages: readonly StageResult[];
  /** Stages that failed. */
  readonly failed: number;
  readonly medianRatio: number;
  readonly worstRatio: number;
  readonly seconds: number;
  /** Why it was not run. */
  readonly problem?: string;
}

/** What `bench` measures. */
export type BenchSection = "ceilings" | "gemm" | "gemv" | "decode";

/** One measurement. */
export interface BenchRow {
  readonly section: BenchSection;
  readonly name: string;
  readonly unit: "GB/s" | "GFLOP/s" | "µs" | "ms" | "tokens/s";
  readonly value: Spread;
}

/** The calls of the page, by name: argument, events and result. */
export interface Calls {
  start: { argument: StartOptions; event: StartProgress; result: EngineFacts };
  transcribe: {
    argument: { readonly audio: Blob | Float32Array; readonly request: TranscribeRequest };
    event: TranscribeEvent;
    result: TranscribeResult;
  };
  live: { argument: LiveRequest; event: LiveEvent; result: undefined };
  verify: { argument: readonly BundleChoice[]; event: VerifyRow; result: readonly VerifyRow[] };
  bench: { argument: readonly BenchSection[]; event: BenchRow; result: readonly BenchRow[] };
  memory: { argument: undefined; event: never; result: EngineMemory };
  /** Destroys the device, as a driver that fails does. For tests. */
  loseDevice: { argument: undefined; event: never; result: undefined };
  close: { argument: undefined; event: never; result: undefined };
}

/** The name of a call. */
export type CallName = keyof Calls;

/** From the page to the worker. */
export type ToWorker =
  | {
      [Name in CallName]: {
        readonly id: number;
        readonly call: Name;
        readonly argument: Calls[Name]["argument"];
      };
    }[CallName]
  | { readonly id: number; readonly call: "abort" }
  /** Samples of a live call, [n] f32, 16 kHz; then its end. */
  | { readonly id: number; readonly call: "push"; readonly samples: Float32Array }
  | { readonly id: number; readonly call: "finish" };

/** From the worker to the page. */
export type ToPage =
  | { readonly id: number; readonly type: "event"; readonly event: unknown }
  | { readonly id: number; readonly type: "done"; readonly result: unknown }
  | { readonly id: number; readonly type: "failed"; readonly error: WireError }
  /** The worker runs. */
  | { readonly type: "ready" }
  /** The device was lost; the next call opens it again. */
  | { readonly type: "lost"; readonly reason: string };
