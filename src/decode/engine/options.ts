import type { GpuBytes } from "../../gpu/device.js";
import type { TranscribeOptions, Transcription } from "../transcriber.js";

/** How much an engine takes on. */
export interface EngineOptions {
  /** Requests at work at most; live ones may be a quarter more. Default: 16. */
  readonly maxRows?: number;
  /**
   * Requests that wait at most, while none can begin, and as many live ones beside them; more are
   * refused. Default: 64.
   */
  readonly maxQueue?: number;
  /**
   * Audio frames of the encoder and tokens of prompts that are read between two decoding steps at
   * most, and a quarter while live requests are at work; a longer clip passes the encoder alone.
   * Default: 128.
   */
  readonly maxRead?: number;
  /** Tokens of one request's prompt and answer at most. Default: 2048, or the model's positions. */
  readonly maxTokens?: number;
  /**
   * Bytes of keys and values at most. A request begins when all that it may need is free. Default:
   * what `maxRows` requests of 1024 tokens need.
   */
  readonly cacheBytes?: number;
}

/** One request to an engine. */
export interface SubmitOptions extends Omit<TranscribeOptions, "onText" | "onStage"> {
  /**
   * Live requests begin before all others, and are read between the pieces of those. While others
   * wait, those have each fourth step, and are overtaken by `maxRows` live ones at most for want of
   * room. Default: "normal".
   */
  readonly priority?: "live" | "normal";
  /**
   * Requests of one owner take turns with those of others while they wait. Default: the request is
   * its own owner.
   */
  readonly owner?: object;
  /** The request is rejected with a DeadlineError after so many milliseconds. Default: never. */
  readonly timeoutMs?: number;
  /** Whether a full queue is waited for instead of a QueueFullError. Default: false. */
  readonly waitForRoom?: boolean;
  /**
   * Tokens that the answer begins with, fewer than it may have. `onText` gets what follows them.
   * Not with a repetition penalty.
   */
  readonly prefix?: readonly number[];
  /** Called with each piece of text as it comes; see TranscribeOptions. */
  readonly onText?: (text: string) => void;
}

/** A request's result: the tokens, text and times that it has alone. */
export interface EngineTranscription extends Transcription {
  /** Seconds from `submit` to the first work on it. */
  readonly queuedSeconds: number;
}

/** What an engine does now, and did since it was made. */
export interface EngineStats {
  /** Requests that wait, live ones included; and the live ones among them. */
  readonly queued: number;
  readonly queuedLive: number;
  /** Requests whose audio or prompt is being read. */
  readonly reading: number;
  /** Requests that are being decoded. */
  readonly rows: number;
  /** Requests by their end. */
  readonly finished: number;
  readonly failed: number;
  /** By their signal, by `close`, or by their deadline. */
  readonly cancelled: number;
  /** By a full queue. */
  readonly refused: number;
  /** Decoding steps, and the tokens that they made. */
  readonly steps: number;
  readonly tokens: number;
  /** Steps of encoder or prompt. */
  readonly reads: number;
  /** Of finished requests. */
  readonly audioSeconds: number;
  /** Pages of 32 tokens of keys and values: made, in use, promised to requests, and at most. */
  readonly pages: {
    readonly all: number;
    readonly used: number;
    readonly promised: number;
    readonly most: number;
  };
  readonly gpuBytes: GpuBytes;
}
