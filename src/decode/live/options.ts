import type { PromptOptions } from "../../tokenizer/prompt.js";
import type { SubmitOptions } from "../engine/options.js";
import type { SilenceStream } from "../segments/feed.js";
import type { TranscriptSegment } from "../segments/recording.js";
import type { PreparedClip, Transcription } from "../transcriber.js";

/** How a live session hears and decodes. */
export interface LiveParts {
  /** Hz of the samples; voice activity takes 16,000. */
  readonly sampleRate: number;
  /** A stream of a VoiceActivityDetector: one at the begin and one after each `commit` or `clear`. */
  readonly openStream: () => SilenceStream;
  /** As Transcriber.prepare, of samples [n] f32. */
  readonly prepare: (samples: Float32Array, name: string) => PreparedClip;
  /** As TranscriptionEngine.submit. */
  readonly run: (clip: PreparedClip, options: SubmitOptions) => Promise<Transcription>;
  /** Token ids to text, without special tokens. */
  readonly decode: (ids: readonly number[]) => string;
}

/** How a live session ends segments and when it decodes. */
export interface LiveOptions extends PromptOptions {
  /** Name in errors. Default: "live". */
  readonly name?: string;
  /** False: segments end by `commit` and by their length alone. Default: true. */
  readonly endpoints?: boolean;
  /** Silence that ends a segment, ms, 60,000 at most. Default: 800. */
  readonly maxEndSilenceMs?: number;
  /** A longer segment is cut, ms, from 1000. Default: 15,000. */
  readonly maxSegmentMs?: number;
  /** False: no decodings of open segments. Default: true. */
  readonly partials?: boolean;
  /** Length of a segment at its first decoding, ms. Default: 960. */
  readonly firstMs?: number;
  /** Audio from one decoding to the next, ms. Default: 640. */
  readonly stepMs?: number;
  /**
   * True: the final text is decoded without regard to the stable words, and may differ from them.
   * Default: false.
   */
  readonly freeFinal?: boolean;
  /** Whether final texts have the times of words, where the model has them. Default: true. */
  readonly wordTimes?: boolean;
}

/** What a live session reports, in this order for each segment; times in seconds from its begin. */
export type LiveEvent =
  /** Speech began. */
  | { readonly type: "started"; readonly start: number }
  /**
   * The open segment was decoded once more. `stable` never changes: every later stable text and the
   * final one (unless it is free) begin with it. `tentative` follows it and may change.
   */
  | { readonly type: "partial"; readonly start: number; readonly stable: string; readonly tentative: string }
  /** Speech ended; the final text follows. */
  | { readonly type: "stopped"; readonly start: number; readonly end: number }
  | { readonly type: "final"; readonly segment: TranscriptSegment }
  /** Every segment before a `commit` has its final text. */
  | { readonly type: "committed"; readonly seconds: number };
