import { expectArgument } from "../arguments.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { type ModelFiles, expectModelFiles } from "../checkpoint/source.js";
import type { DecodedAudio } from "../frontend/audio.js";
import type { FrontendConfig } from "../frontend/config.js";
import { AudioError } from "../frontend/errors.js";
import { extractFeatures, mixWaveform } from "../frontend/features.js";
import type { Gpu } from "../gpu/device.js";
import { expectGpu } from "../gpu/errors.js";
import type { Tensor } from "../gpu/tensor.js";
import { audioTokens, longestAudio } from "../config/model-config.js";
import { type FunAsrNano, type PromptTokens, adapt, encode, loadFunAsrNano } from "../model/fun-asr-nano.js";
import type { WeightFormat } from "../weights/loader.js";
import { type PromptOptions, type PromptRenderer, promptIds } from "../tokenizer/prompt.js";
import type { LanguageCode } from "../tokenizer/languages.js";
import type { ChatRenderer } from "../tokenizer/chat.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { Stopwatch } from "./stopwatch.js";
import { openCtcAsAsked } from "../checkpoint/ctc.js";
import { Aligner, type ClipTimes } from "./alignment/aligner.js";
import { answerLimit, usualTokens } from "./answer-limit.js";
import { transcription } from "./clip-work.js";
import { greedy } from "./greedy.js";
import { DecodeError, type Finish } from "./loop.js";
import { checkSampling } from "./sampling.js";
import { SpokenStream, withoutSilenceMarks } from "./segments/silence-marks.js";
import { type TextParts, loadParts } from "./parts.js";
import { concatenated } from "../frontend/audio.js";

/** Features of one clip, ready for the encoder. */
export interface PreparedClip {
  readonly name: string;
  /** [T, 560] f32 */
  readonly features: Float32Array;
  readonly frames: number;
  readonly audioSeconds: number;
  readonly frontendSeconds: number;
  /** Warnings about the audio: channels that cancel each other. */
  readonly warning?: string;
}

/** Wall time by stage. In a batch each stage's time is that of the whole batch. */
export interface StageSeconds {
  readonly frontend: number;
  readonly encoder: number;
  readonly adaptor: number;
  readonly prefill: number;
  readonly decode: number;
}

/** The text of one clip, without marks of silence; with `wordTimes`, the times of its words too. */
export interface Transcription extends Partial<ClipTimes> {
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly audioSeconds: number;
  readonly seconds: StageSeconds;
  readonly finish: Finish;
}

export interface TranscribeOptions extends PromptOptions {
  /**
   * New tokens of a clip at most, 1 or more. Default: 32 and one for each 60 ms of audio. No clip
   * gets more than the model's context has left after its prompt.
   */
  readonly maxNewTokens?: number;
  /**
   * Scores of tokens that the answer has already are divided by it, or multiplied where below 0.
   * Default: 1. Any other reads the scores of every token back.
   */
  readonly repetitionPenalty?: number | undefined;
  /** Default: whether the model was loaded with `wordTimes` and has a CTC head. */
  readonly wordTimes?: boolean;
  /**
   * Called with each piece of text as it comes; `clip` is the index in the batch. The pieces joined
   * and trimmed are the result's text; where a loop is cut, they begin with it, the repeats having
   * come already.
   */
  readonly onText?: (clip: number, text: string) => void;
  /** Ends the call before its next step, with the signal's reason. Its GPU memory is freed. */
  readonly signal?: AbortSignal | undefined;
  /** Called when a stage begins. */
  readonly onStage?: (stage: "encoder" | "adaptor" | "prefill" | "decode") => void;
}

/** How a checkpoint is loaded. */
export interface TranscriberOptions {
  /** Storage of the weights on the GPU. Default: as in the checkpoint. */
  readonly weights?: WeightFormat;
  /** Directories with a LoRA each, merged into the weights in this order as they are read. */
  readonly lora?: readonly ModelFiles[];
  /**
   * Loads the checkpoint's CTC head: it finds the times of words, and `transcribeRecording` checks
   * texts by it. A checkpoint without one gets a warning, and no times. "optional": no warning there,
   * and a warning in place of an error where the head is incomplete or does not fit.
   */
  readonly wordTimes?: boolean | "optional" | undefined;
  /** Called while weights are read, with bytes done and bytes in all. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Ends the loading before its next read, with the signal's reason; what was loaded is freed. */
  readonly signal?: AbortSignal | undefined;
}

/** A checkpoint that turns audio into text. */
export class Transcriber {
  private constructor(
    readonly gpu: Gpu,
    readonly model: FunAsrNano,
    readonly frontend: FrontendConfig,
    private readonly text: TextParts,
    /**
     * One sentence for each contradiction between the checkpoint's files, with the choice that was
     * made.
     */
    readonly warnings: readonly string[],
    /** Finds the times of words; absent where `wordTimes` was not asked for, or without a head. */
    readonly aligner: Aligner | undefined,
  ) {}

  /**
   * Loads a checkpoint in any published layout.
   * @throws CheckpointError, ConfigError, TokenizerError  a file is missing, damaged, or does not fit the others
   */
  static async load(gpu: Gpu, files: ModelFiles, options: TranscriberOptions = {}): Promise<Transcriber> {
    expectGpu("Transcriber.load", gpu);
    expectModelFiles("Transcriber.load", files);
    const checkpoint = await openCheckpoint(files, options.lora);
    try {
      return await Transcriber.#load(gpu, files, checkpoint, options);
    } finally {
      await checkpoint.close();
    }
  }

  static async #load(
    gpu: Gpu,
    files: ModelFiles,
    checkpoint: Checkpoint,
    { weights, wordTimes, onProgress, signal }: TranscriberOptions,
  ): Promise<Transcriber> {
    const { head, warning } = await openCtcAsAsked(files, checkpoint, wordTimes);
    const { frontend, text } = await loadParts(checkpoint);
    const aligner = await Aligner.load(gpu, head, { weights, signal });
    const model = await loadFunAsrNano(gpu, checkpoint.config, checkpoint, {
      weights,
      signal,
      use: transcription(checkpoint.config, checkpoint),
      onProgress: (bytes) => onProgress?.(bytes, checkpoint.totalBytes),
    }).catch((error: unknown) => {
      aligner?.free();
      throw error;
    });
    const warnings = warning === undefined ? checkpoint.warnings : [...checkpoint.warnings, warning];
    return new Transcriber(gpu, model, frontend, text, warnings, aligner);
  }

  get tokenizer(): Tokenizer {
    return this.text.tokenizer;
  }

  /** Prompts of text alone, for the LLM without audio. */
  get chat(): ChatRenderer {
    return this.text.chat;
  }

  /** Tokens that end an answer, the one that ends the assistant's turn first. */
  get stopIds(): ReadonlySet<number> {
    return this.text.stopIds;
  }

  /** Where prompts come from: the checkpoint's chat template, or FunASR's rules. */
  get promptSource(): PromptRenderer["source"] {
    return this.text.prompts.source;
  }

  /**
   * Why the checkpoint's chat template is not used; undefined where it is, or where there is none.
   */
  get promptFallback(): string | undefined {
    return this.text.prompts.fallback;
  }

  /**
   * Languages that the checkpoint knows, by its chat template or its config; undefined where
   * neither says so.
   */
  get languages(): readonly LanguageCode[] | undefined {
    return this.text.languages;
  }

  /** Checks options before there is a clip. @throws PromptError  as `transcribe` would */
  checkPrompt(options: PromptOptions): void {
    this.text.prompts.render(options);
  }

  /**
   * Seconds of audio that fit the model's positions: `maxSeconds` of decodeAudio.
   * @throws PromptError  see PromptRenderer
   */
  maxSeconds(options: PromptOptions = {}): number {
    const { lfrStride, frameShift } = this.frontend;
    const { config } = this.model;
    const { ids } = promptIds(this.tokenizer, this.text.prompts.render(options), config.audioTokenId, 1);
    return longestAudio(config, (lfrStride * frameShift) / 1000, ids.length - 1);
  }

  /** Hz that clips are heard at: `keep.rate` of decodeAudio. */
  get sampleRate(): number {
    return this.frontend.samplingRate;
  }

  /** Decoded audio → features. @throws AudioError  shorter than 25 ms, NaN samples */
  prepare(audio: DecodedAudio, name: string): PreparedClip {
    expectArgument(
      "prepare: audio",
      Array.isArray((audio as Partial<DecodedAudio> | undefined)?.channels),
      "decoded audio, as await decodeAudio(BYTES, NAME) gives",
      audio,
    );
    const start = performance.now();
    const { samples, warning = audio.warning } = mixWaveform(audio, this.frontend.samplingRate, name);
    const { data, frames } = extractFeatures(samples, this.frontend, name);
    return {
      name,
      features: data,
      frames,
      audioSeconds: audio.seconds ?? audio.channels[0].length / audio.sampleRate,
      frontendSeconds: (performance.now() - start) / 1000,
      ...(warning !== undefined && { warning }),
    };
  }

  /**
   * Transcribes a batch of clips in one packed run; a clip's result does not depend on the others.
   * @throws DecodeError  an option out of range; AudioError  a clip's prompt does not fit the model's context;
   *                      PromptError  see PromptRenderer
   */
  async transcribe(
    clips: readonly PreparedClip[],
    options: TranscribeOptions = {},
  ): Promise<Transcription[]> {
    const prepared = Array.isArray(clips) && (clips as readonly unknown[]).every(isPrepared);
    expectArgument("transcribe: clips", prepared, "an array of clips, as prepare(AUDIO, NAME) gives", clips);
    if (clips.length === 0) return [];
    const { gpu, model } = this;
    const { signal } = options;
    const frames = clips.map((clip) => clip.frames);
    const prompts = this.promptTokens(clips, options); // first: an option or a clip may be refused
    const maxNewTokens = this.limits(clips, prompts, options);
    const clock = new Stopwatch();
    options.onStage?.("encoder");
    const features = concatenated(clips.map((clip) => clip.features));
    const states = await this.#hold(() => encode(gpu, model, { features, frames }), signal);
    const encoder = clock.lap();
    options.onStage?.("adaptor");
    const { audio, hidden } = await this.#adapt(states, frames, options).finally(() => gpu.release(states));
    const adaptor = clock.lap();
    const streams = clips.map(() => new SpokenStream(this.tokenizer.stream({ skipSpecial: true })));
    let prefill = 0;
    options.onStage?.("prefill");
    const decoded = await greedy(gpu, model, prompts, audio, {
      stopIds: this.stopIds,
      maxNewTokens,
      usualTokens: clips.map(usualTokens),
      repetitionPenalty: options.repetitionPenalty,
      signal,
      onPrefill: () => {
        prefill = clock.lap();
        options.onStage?.("decode");
      },
      onToken: (clip, id) => {
        const text = options.onText && streams[clip].push(id);
        if (text) options.onText?.(clip, text);
      },
    }).finally(() => gpu.release(audio));
    const decode = clock.lap();
    for (const [clip, stream] of streams.entries()) {
      const rest = stream.flush();
      if (rest) options.onText?.(clip, rest);
    }
    const results = decoded.map(({ tokenIds, finish }, i) => ({
      text: withoutSilenceMarks(this.tokenizer.decode(tokenIds, { skipSpecial: true }).trim()),
      tokenIds,
      audioSeconds: clips[i].audioSeconds,
      seconds: { frontend: clips[i].frontendSeconds, encoder, adaptor, prefill, decode },
      finish,
    }));
    return hidden ? this.withTimes(results, frames, hidden, signal) : results;
  }

  /** Gives the weights' GPU memory back. */
  free(): void {
    this.aligner?.free();
    this.model.free();
  }

  /**
   * Each clip's prompt up to the answer.
   * @throws AudioError  it does not fit the model's context; PromptError  see PromptRenderer
   */
  promptTokens(clips: readonly PreparedClip[], options: PromptOptions): PromptTokens[] {
    const { audioTokenRule, audioTokenId, llm } = this.model.config;
    const text = this.text.prompts.render(options);
    return clips.map((clip) => {
      const audioLength = audioTokens(audioTokenRule, clip.frames);
      const prompt = { ...promptIds(this.tokenizer, text, audioTokenId, audioLength), audioLength };
      if (prompt.ids.length < llm.maxPositions) return prompt;
      throw tooLong(clip, prompt, llm.maxPositions);
    });
  }

  /**
   * Each clip's limit of new tokens, within what the context has left. Checks options first.
   * @throws DecodeError  an option out of range
   */
  limits(
    clips: readonly PreparedClip[],
    prompts: readonly PromptTokens[],
    { maxNewTokens, repetitionPenalty }: Pick<TranscribeOptions, "maxNewTokens" | "repetitionPenalty">,
  ): number[] {
    checkSampling({ repetitionPenalty });
    if (maxNewTokens !== undefined && !(Number.isInteger(maxNewTokens) && maxNewTokens >= 1))
      throw new DecodeError(`transcribe: maxNewTokens: expected a whole number from 1, got ${maxNewTokens}`);
    const { maxPositions } = this.model.config.llm;
    return clips.map(({ frames }, i) =>
      answerLimit({ frames, promptTokens: prompts[i].ids.length }, maxPositions, maxNewTokens),
    );
  }

  /** The audio's embeddings and, where times of words are asked for, the CTC head's hidden states. */
  async #adapt(
    states: Tensor,
    frames: readonly number[],
    { wordTimes = true, signal }: TranscribeOptions,
  ): Promise<{ audio: Tensor; hidden: Float32Array | undefined }> {
    const hidden = wordTimes ? await this.aligner?.hidden(states, frames, signal) : undefined;
    return { hidden, audio: await this.#hold(() => adapt(this.gpu, this.model, states, frames), signal) };
  }

  /** Results with the times of their words. @param hidden  of `Aligner.hidden` */
  async withTimes<T extends Transcription>(
    results: readonly T[],
    frames: readonly number[],
    hidden: Float32Array,
    signal: AbortSignal | undefined,
  ): Promise<(T & ClipTimes)[]> {
    const { lfrStride, frameShift } = this.frontend;
    const clips = results.map(({ text, audioSeconds }, i) => ({
      text,
      frames: frames[i],
      seconds: audioSeconds,
      frameSeconds: (lfrStride * frameShift) / 1000,
    }));
    const times = await this.aligner!.align(hidden, clips, signal);
    return results.map((result, i) => ({ ...result, ...times[i] }));
  }

  /** Runs a step that makes one tensor, which lives until it is released. */
  async #hold(make: () => Tensor, signal: AbortSignal | undefined): Promise<Tensor> {
    let made: Tensor | undefined;
    try {
      await this.gpu.step(() => {
        signal?.throwIfAborted();
        made = this.gpu.hold(make());
        return [];
      });
      await this.gpu.finish();
      return made!;
    } catch (error) {
      if (made) this.gpu.release(made);
      throw error;
    }
  }
}

function isPrepared(clip: unknown): boolean {
  return (clip as Partial<PreparedClip> | null | undefined)?.features instanceof Float32Array;
}

function tooLong(clip: PreparedClip, { ids, audioLength }: PromptTokens, maxPositions: number): AudioError {
  const text = ids.length - audioLength;
  const seconds = Math.floor((clip.audioSeconds * (maxPositions - 1 - text)) / audioLength);
  return new AudioError(
    clip.name,
    "prompt",
    `fewer tokens than the model's ${maxPositions} positions`,
    `${audioLength} of audio and ${text} of text`,
    {
      advice:
        seconds > 0
          ? `cut the clip into parts of ${seconds} s at most`
          : "shorten the context or the hotwords",
    },
  );
}
