import type { CtcHead } from "../../checkpoint/ctc.js";
import type { Gpu } from "../../gpu/device.js";
import type { Tensor } from "../../gpu/tensor.js";
import { makeSegments } from "../../kernels/attention/segments.js";
import { type Ctc, ctcDecoder, ctcLogits, loadCtc } from "../../model/ctc.js";
import type { Tiktoken } from "../../tokenizer/tiktoken.js";
import type { LoadOptions } from "../../weights/loader.js";
import { loadWeights } from "../../weights/memory.js";
import { withoutSilenceMarks } from "../segments/silence-marks.js";
import { agreement } from "./agreement.js";
import { Scores } from "./scores.js";
import { type Clip, type Word, alignWords } from "./words.js";

/** A clip to align. */
export interface AlignedClip extends Clip {
  /** Its rows of the encoder states. */
  readonly frames: number;
  readonly text: string;
}

/** What the CTC head says of a clip. */
export interface ClipTimes {
  /** Absent where the alignment failed. */
  readonly words?: readonly Word[];
  /** Why it failed. */
  readonly wordsFailure?: string;
  /** The head's own text. */
  readonly ctcText: string;
  /** Agreement of the two texts, 0 to 1: a low one is a sign of text that nobody said. */
  readonly agreement: number;
}

/** Most bytes of logits that are on the GPU at once. */
const logitBytes = 16 << 20;

/** A checkpoint's CTC head on the GPU, which finds the times of words. */
export class Aligner {
  private constructor(
    private readonly gpu: Gpu,
    private readonly head: Ctc & { free: () => void },
    private readonly tokenizer: Tiktoken,
  ) {}

  /**
   * Puts a head on the GPU and closes its file; undefined where there is none.
   * @throws OutOfMemoryError  see loadWeights
   */
  static async load(
    gpu: Gpu,
    head: CtcHead | undefined,
    options: LoadOptions = {},
  ): Promise<Aligner | undefined> {
    if (!head) return undefined;
    const { config, source, tokenizer } = head;
    const weights = loadWeights(gpu, source, options, (load) => loadCtc(load, config));
    return new Aligner(gpu, await weights.finally(() => head.close()), tokenizer);
  }

  /**
   * The head's hidden states of packed clips.
   * @param states  [ΣT, encoder width] f32
   * @returns       [ΣT, D]
   */
  async hidden(states: Tensor, frames: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    const [hidden] = await this.gpu.step(() => {
      signal?.throwIfAborted();
      return [this.record(states, frames)];
    });
    return hidden as Float32Array;
  }

  /** The same within a step. */
  record(states: Tensor, frames: readonly number[]): Tensor {
    return ctcDecoder(this.gpu, this.head, states, makeSegments(this.gpu, frames));
  }

  /**
   * Aligns the texts of packed clips; a clip's times do not depend on the others.
   * @param hidden  [ΣT, D], the clips' rows in order
   */
  async align(
    hidden: Float32Array,
    clips: readonly AlignedClip[],
    signal?: AbortSignal,
  ): Promise<ClipTimes[]> {
    const { hiddenSize } = this.head.config;
    const times: ClipTimes[] = [];
    let first = 0;
    for (const clip of clips) {
      const end = first + clip.frames * hiddenSize;
      times.push(await this.#clip(hidden.subarray(first, end), clip, signal));
      first = end;
    }
    return times;
  }

  free(): void {
    this.head.free();
  }

  async #clip(hidden: Float32Array, clip: AlignedClip, signal?: AbortSignal): Promise<ClipTimes> {
    const { gpu, head, tokenizer } = this;
    const { config } = head;
    const { text, frames } = clip;
    const tokens = tokenizer.encode(text);
    const scores = new Scores(
      config,
      frames,
      tokens.map(({ id }) => id),
    );
    const most = Math.max(1, Math.floor(logitBytes / (4 * config.vocabSize)));
    for (let row = 0; row < frames; row += most) {
      const end = Math.min(row + most, frames);
      const part = hidden.slice(row * config.hiddenSize, end * config.hiddenSize);
      const [logits] = await gpu.step(() => {
        signal?.throwIfAborted();
        return [ctcLogits(gpu, head, gpu.upload(part, [end - row, config.hiddenSize]))];
      });
      scores.add(logits as Float32Array);
    }
    let end = 0;
    const pieces = tokens.map(({ id, bytes }) => {
      const begin = end;
      end += bytes;
      return { column: scores.column(id), begin, end };
    });
    const ctcText = withoutSilenceMarks(tokenizer.decode(scores.greedy).trim());
    const aligned = alignWords(text, pieces, scores.emissions, clip);
    const result = "words" in aligned ? { words: aligned.words } : { wordsFailure: aligned.failure };
    return { ...result, ctcText, agreement: Math.round(1000 * agreement(text, ctcText)) / 1000 };
  }
}
