import { runInEngine } from "../decode/engine/run-clips.js";
import type { TranscriptSegment } from "../decode/segments/recording.js";
import {
  type RecordingTranscription,
  transcribeRecording,
  wholeSeconds,
} from "../decode/segments/transcribe-recording.js";
import type { TranscriptionEngine } from "../decode/engine/engine.js";
import { translationPrompt } from "../decode/translator.js";
import { concatenated } from "../frontend/audio.js";
import { type FileParts, type Streamed, streamAudio } from "../frontend/stream-audio.js";
import type { PromptOptions } from "../tokenizer/prompt.js";
import { BrowserError } from "./errors.js";
import type { Calls, TranscribeEvent, TranscribeRequest, TranscribeResult } from "./messages.js";
import type { Models } from "./models.js";
import { Handoff } from "./handoff.js";

const pageBatch = 4; // segments: progress is reported after each batch, and a visitor waits for it

/** What hears of a transcription, and what ends it. */
export interface TranscribeCall {
  readonly onEvent: (event: TranscribeEvent) => void;
  readonly signal: AbortSignal;
}

/** The engine. @throws BrowserError  no model was loaded */
export function expectEngine({ engine }: Models): TranscriptionEngine {
  if (engine) return engine;
  throw new BrowserError("usage", "transcribe: expected a model, got none at the start; start with `model`");
}

/** The model's options of a request. */
function promptOf({ to, language, hotwords, context, itn, prompt }: TranscribeRequest): PromptOptions {
  if (to !== undefined) return { prompt: translationPrompt(to) };
  const all = { language, hotwords, context, itn, prompt };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** One recording on its way to text. */
class Work {
  readonly #prompt: PromptOptions;
  readonly #rate: number;
  #total: number | undefined;

  constructor(
    private readonly models: Models,
    private readonly engine: TranscriptionEngine,
    private readonly name: string,
    private readonly request: TranscribeRequest,
    private readonly call: TranscribeCall,
  ) {
    this.#prompt = promptOf(request);
    this.#rate = engine.transcriber.sampleRate;
    engine.transcriber.checkPrompt(this.#prompt);
  }

  async run(audio: Blob | Float32Array): Promise<TranscribeResult> {
    const began = performance.now();
    const blocks = new Handoff<Float32Array>();
    const heard = this.#hear(audio, blocks);
    const text = this.#text(blocks).catch(async (error: unknown) => {
      blocks.fail(error as Error);
      await heard.catch(() => undefined);
      throw error;
    });
    const [{ damage, warning, seconds }, transcribed] = await Promise.all([heard, text]);
    const warnings = [damage, warning].filter((line) => line !== undefined);
    return { ...transcribed, seconds, workSeconds: (performance.now() - began) / 1000, warnings };
  }

  /** Decodes the audio into blocks. */
  async #hear(
    audio: Blob | Float32Array,
    blocks: Handoff<Float32Array>,
  ): Promise<Pick<Streamed, "damage" | "warning" | "seconds">> {
    if (audio instanceof Float32Array) {
      this.#total = audio.length / this.#rate;
      await blocks.give(audio);
      blocks.end();
      return { seconds: this.#total };
    }
    const parts: FileParts = {
      size: audio.size,
      read: async (at, length) => new Uint8Array(await audio.slice(at, at + length).arrayBuffer()),
    };
    const options = {
      rate: this.#rate,
      signal: this.call.signal,
      onLength: (seconds: number): void => void (this.#total = seconds),
    };
    try {
      const streamed = await streamAudio(parts, this.name, options, (block) => blocks.give(block.slice()));
      blocks.end();
      return streamed;
    } catch (error) {
      blocks.break(error as Error);
      throw error;
    }
  }

  async #text(blocks: Handoff<Float32Array>): Promise<RecordingTranscription> {
    const { transcriber } = this.engine;
    const fits = transcriber.maxSeconds(this.#prompt);
    const limit = this.request.cut ? 0 : wholeSeconds(transcriber.model.config, fits) * this.#rate;
    const first: Float32Array[] = [];
    let count = 0;
    for await (const block of blocks) {
      first.push(block);
      count += block.length;
      if (count > limit) return this.#recording(first, blocks);
    }
    return this.#whole(concatenated(first));
  }

  async #whole(samples: Float32Array): Promise<RecordingTranscription> {
    const { transcriber } = this.engine;
    const { signal, onEvent } = this.call;
    const { maxNewTokens, repetitionPenalty, wordTimes } = this.request;
    const clip = transcriber.prepare({ channels: [samples], sampleRate: this.#rate }, this.name);
    let tentative = "";
    const { text, tokenIds, finish, words, wordsFailure, agreement } = await this.engine.submit(clip, {
      ...this.#prompt,
      signal,
      wordTimes: wordTimes !== false && this.request.to === undefined,
      waitForRoom: true,
      ...(maxNewTokens !== undefined && { maxNewTokens }),
      ...(repetitionPenalty !== undefined && { repetitionPenalty }),
      onText: (piece) =>
        onEvent({ type: "partial", stable: "", tentative: (tentative += piece).trimStart() }),
    });
    const segment: TranscriptSegment = {
      start: 0,
      end: clip.audioSeconds,
      text,
      tokenIds,
      finish,
      ...(words && { words }),
      ...(wordsFailure !== undefined && { wordsFailure }),
      ...(agreement !== undefined && { agreement }),
    };
    const segments = text === "" ? [] : [segment];
    for (const found of segments) onEvent({ type: "segment", segment: found });
    this.#progress(clip.audioSeconds);
    return { text, segments, silences: [], seconds: clip.audioSeconds };
  }

  #recording(first: readonly Float32Array[], rest: Handoff<Float32Array>): Promise<RecordingTranscription> {
    const { detector } = this.models;
    if (!detector)
      throw new BrowserError(
        "usage",
        `${this.name}: expected a voice activity net for so long a recording, got none at the start; start with \`vad\``,
      );
    const { signal, onEvent } = this.call;
    const { maxEndSilenceMs, mergeMs, maxNewTokens, repetitionPenalty, to } = this.request;
    const run = runInEngine(this.engine);
    const blocks = async function* (): AsyncGenerator<Float32Array> {
      yield* first;
      yield* rest;
    };
    return transcribeRecording(this.engine.transcriber, detector, blocks(), {
      ...this.#prompt,
      name: this.name,
      signal,
      batch: pageBatch,
      wordTimes: to === undefined,
      ...(maxEndSilenceMs !== undefined && { maxEndSilenceMs }),
      ...(mergeMs !== undefined && { mergeMs }),
      ...(maxNewTokens !== undefined && { maxNewTokens }),
      ...(repetitionPenalty !== undefined && { repetitionPenalty }),
      run: (clips, asked) => {
        const texts = clips.map(() => "");
        const onText = (clip: number, piece: string): void => {
          texts[clip] += piece;
          onEvent({
            type: "partial",
            stable: "",
            tentative: texts
              .map((text) => text.trim())
              .filter((text) => text !== "")
              .join("\n"),
          });
        };
        return run(clips, { ...asked, onText });
      },
      onSegment: (segment) => {
        if (segment.text !== "") onEvent({ type: "segment", segment });
      },
      onProgress: (seconds) => this.#progress(seconds),
    });
  }

  #progress(seconds: number): void {
    this.call.onEvent({ type: "progress", seconds, total: this.#total });
  }
}

/**
 * Transcribes a file or samples: up to a minute whole, else in segments of speech.
 * @throws AudioError, PromptError, DecodeError, GpuError; BrowserError  no model, no voice activity
 *         net for a long recording; the signal's reason
 */
export async function transcribe(
  models: Models,
  { audio, request }: Calls["transcribe"]["argument"],
  call: TranscribeCall,
): Promise<TranscribeResult> {
  const { name = "audio" } = request;
  return new Work(models, expectEngine(models), name, request, call).run(audio);
}
