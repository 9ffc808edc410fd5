import type { Utterance } from "../data/utterances.js";
import { type ModelConfig, audioTokens, longestAudio } from "../config/model-config.js";
import type { PromptTokens } from "../model/fun-asr-nano.js";
import { describeSystem } from "../node/system-error.js";
import { reason } from "../json.js";
import type { FrontendConfig } from "../frontend/config.js";
import { expectWhole } from "../frontend/decode.js";
import { extractFeatures } from "../frontend/features.js";
import { type PromptRenderer, promptIds } from "../tokenizer/prompt.js";
import { INSTRUCTION } from "../tokenizer/prompts.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { AudioReader } from "./audio.js";
import { CacheError, TrainError } from "./errors.js";
import { type CachedClip, type ClipRows, type FeatureCache, cacheKey } from "./feature-cache.js";

/** An utterance as the model gets it. */
export interface TrainClip {
  readonly utterance: Utterance;
  /** Of its rows in the cache. */
  readonly key: string;
  readonly frames: number;
  readonly prompt: PromptTokens;
  /** Ids of the text, then `<|im_end|>`. */
  readonly answer: readonly number[];
  /** Ids of the spoken words; absent where the line does not have them. */
  readonly transcript?: readonly number[];
}

/**
 * The spoken words of a line: its transcript, or its text where the prompt asks for a transcript
 * (no prompt, or one of FunASR's or the demo's requests to transcribe).
 */
function spokenText({ prompt, text, transcript }: Utterance): string | undefined {
  if (transcript !== undefined) return transcript;
  const transcribes =
    prompt === undefined || prompt.includes(INSTRUCTION.transcribe) || /transcri/i.test(prompt);
  return transcribes ? text : undefined;
}

/** Tokens of a clip in a batch: prompt with audio, and answer. */
export function clipTokens({ prompt, answer }: TrainClip): number {
  return prompt.ids.length + answer.length;
}

/** Turns utterances into clips. */
export interface CorpusParts {
  readonly config: ModelConfig;
  readonly frontend: FrontendConfig;
  readonly tokenizer: Tokenizer;
  readonly prompts: PromptRenderer;
  readonly cache: FeatureCache;
  /**
   * What the encoder's outputs depend on, as CacheKeyParts has it; "" where it is trained and the
   * cache holds features.
   */
  readonly encoder: string;
  /** Features [T, 560] → the cache's rows; absent where it holds features. */
  readonly encode?: (features: ClipRows) => Promise<ClipRows>;
}

export interface PrepareOptions {
  /** Name of the data file in errors. */
  readonly file: string;
  /** Leave lines out that cannot be used, instead of refusing them all at the end. */
  readonly skipBad: boolean;
  /** Audio that is cut short or damaged cannot be used. Default: it is, with a warning. */
  readonly strict?: boolean | undefined;
  /** Throws an error where a clip is too long to be used. */
  readonly check?: (clip: TrainClip) => void;
  /**
   * Called with each line that cannot be used, up to 20 of a file, then with the number of the
   * rest. Also called with the faults of audio that is used, once a file.
   */
  readonly onBad: (message: string) => void;
  readonly onProgress?: (done: number) => void;
}

const answerEnd = "<|im_end|>";

/**
 * Reports the bad lines of a file one by one up to the 20th, then the number of the rest.
 * @returns  functions to call with each message, and at the end
 */
export function badLines(file: string, report: (message: string) => void): BadLineReporter {
  let count = 0;
  return {
    get count() {
      return count;
    },
    add(message) {
      if (count++ < reportedLines) report(message);
    },
    end() {
      if (count > reportedLines) report(`${file}: and ${count - reportedLines} more such lines`);
    },
  };
}

export interface BadLineReporter {
  readonly count: number;
  add(message: string): void;
  end(): void;
}

const reportedLines = 20;

/** Why a line cannot be used. */
function refusal(error: unknown, { audio }: Utterance): string {
  const system = error instanceof Error && (error as NodeJS.ErrnoException).code !== undefined;
  return system ? `${audio}: ${describeSystem(error)}` : reason(error);
}

interface RenderedPrompt {
  readonly text: string;
  /** Of the text, without the audio. */
  readonly tokens: number;
}

/**
 * The utterances of a data file with their tokens, and with their rows in the cache: those that it
 * lacks are computed.
 */
export class Corpus {
  readonly #reader: AudioReader;
  readonly #rendered = new Map<string | undefined, RenderedPrompt>();
  readonly #warned = new Set<string>();
  readonly #endId: number;
  /** Entries that were computed, because they were missing or damaged. */
  computed = 0;

  /** What the cache's rows are. */
  get holds(): "features" | "states" {
    return this.parts.encode ? "states" : "features";
  }

  /** One line about damaged rows of the cache; undefined where none was. */
  damagedRows(): string | undefined {
    const { directory, damaged } = this.parts.cache;
    if (damaged.size === 0) return undefined;
    return `${directory}: the cached rows of ${damaged.size} ${damaged.size === 1 ? "clip" : "clips"} were damaged; they were computed again`;
  }

  /** @throws TrainError  the vocabulary has no `<|im_end|>` */
  constructor(private readonly parts: CorpusParts) {
    this.#reader = new AudioReader(parts.frontend.samplingRate);
    const id = parts.tokenizer.id(answerEnd);
    if (id === undefined) throw new TrainError(`tokenizer: expected a token ${answerEnd}, got none`);
    this.#endId = id;
  }

  /**
   * @throws TrainError  a line cannot be used and `skipBad` is off, or none can
   * @throws CacheError  the cache cannot be written
   */
  async prepare(utterances: readonly Utterance[], options: PrepareOptions): Promise<TrainClip[]> {
    const clips: TrainClip[] = [];
    const bad = badLines(options.file, options.onBad);
    for (const [i, utterance] of utterances.entries()) {
      try {
        const clip = await this.#clip(utterance, options);
        options.check?.(clip);
        clips.push(clip);
      } catch (error) {
        if (error instanceof CacheError) throw error;
        bad.add(`${options.file}:${utterance.line}: ${refusal(error, utterance)}`);
      }
      options.onProgress?.(i + 1);
    }
    bad.end();
    if (bad.count > 0 && !options.skipBad) {
      throw new TrainError(
        `${options.file}: expected ${utterances.length} lines that can be used, got ${bad.count} that cannot; mend them, or leave them out with --skip-bad`,
      );
    }
    if (clips.length > 0) return clips;
    throw new TrainError(`${options.file}: expected at least 1 line that can be used, got none`);
  }

  /** A clip's rows, from the cache or computed anew. */
  async rows({ key, utterance }: TrainClip): Promise<ClipRows> {
    const found = await this.parts.cache.read(key);
    if (found) return found;
    if ((await this.#key(utterance)) === key) return (await this.#compute(key, utterance)).rows;
    throw new TrainError(
      `${utterance.audio}: expected the file as it was when the run began, got another; put it back, or begin a new run`,
    );
  }

  /** Of the utterance's rows in the cache, from its audio file as it is now. */
  async #key(utterance: Utterance, maxSeconds?: number): Promise<string> {
    const { encoder, frontend } = this.parts;
    const audio = await this.#reader.sha256(utterance, maxSeconds);
    return cacheKey({ encoder, audio, segment: this.#reader.segment(utterance), frontend });
  }

  async #clip(utterance: Utterance, { strict, onBad }: PrepareOptions): Promise<TrainClip> {
    const { config, frontend, cache, tokenizer } = this.parts;
    const { audio } = utterance;
    const { text, tokens: words } = this.#prompt(utterance.prompt); // first what costs nothing
    const answer = [...this.#ids("text", utterance.text), this.#endId];
    const spoken = spokenText(utterance);
    const transcript = spoken === undefined ? {} : { transcript: this.#ids("transcript", spoken) };
    const longest = longestAudio(config, (frontend.lfrStride * frontend.frameShift) / 1000, words);
    const key = await this.#key(utterance, longest);
    const cached = await cache.head(key);
    const { frames, damage, warning } = cached ?? (await this.#compute(key, utterance, longest)).head;
    if (strict) expectWhole({ damage }, audio);
    for (const fault of [damage, warning]) if (fault !== undefined) this.#warn(`${audio}: ${fault}`, onBad);
    const audioLength = audioTokens(config.audioTokenRule, frames);
    const prompt = { ...promptIds(tokenizer, text, config.audioTokenId, audioLength), audioLength };
    const tokens = prompt.ids.length + answer.length;
    if (tokens <= config.llm.maxPositions) return { utterance, key, frames, prompt, answer, ...transcript };
    const expected = `at most the model's ${config.llm.maxPositions} positions`;
    throw new TrainError(`tokens: expected ${expected}, got ${tokens}; cut the clip into parts`);
  }

  #warn(message: string, warn: (message: string) => void): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    warn(`warning: ${message}`);
  }

  async #compute(
    key: string,
    utterance: Utterance,
    maxSeconds?: number,
  ): Promise<{ readonly rows: ClipRows; readonly head: CachedClip }> {
    const { frontend, cache, encode } = this.parts;
    const { samples, ...faults } = await this.#reader.waveform(utterance, maxSeconds);
    const features = extractFeatures(samples, frontend, utterance.audio);
    const rows = encode ? await encode(features) : features;
    try {
      await cache.write(key, rows, faults);
    } catch (error) {
      throw new CacheError(
        `${cache.path(key)}: expected a cache that can be written, got ${reason(error)}; make room, or name another --cache`,
      );
    }
    this.computed++;
    return { rows, head: { frames: rows.frames, ...faults } };
  }

  #prompt(prompt: string | undefined): RenderedPrompt {
    let rendered = this.#rendered.get(prompt);
    if (rendered === undefined) {
      const { config, prompts, tokenizer } = this.parts;
      const text = prompts.render(prompt === undefined ? {} : { prompt });
      rendered = { text, tokens: promptIds(tokenizer, text, config.audioTokenId, 1).ids.length - 1 };
      this.#rendered.set(prompt, rendered);
    }
    return rendered;
  }

  #ids(field: "text" | "transcript", text: string): number[] {
    const token = this.parts.tokenizer.addedTokens.find((added) => text.includes(added));
    if (token !== undefined)
      throw new TrainError(`${field}: expected none of the vocabulary's own tokens, got ${token}`);
    return [...this.parts.tokenizer.encode(text)];
  }
}
