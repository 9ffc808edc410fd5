import type { PreparedClip, Transcription } from "../transcriber.js";
import type { Word } from "../alignment/words.js";
import type { Finish } from "../loop.js";
import { FRAME_MS, type SpeechSegment } from "../vad/segmenter.js";
import { AudioWindow } from "./audio-window.js";
import { type Doubt, doubtOf } from "./doubt.js";
import { joinTexts } from "../../scripts.js";
import { type PlanOptions, type PlannedSegment, Planner, type SpeechIn, leastSpeech } from "./planner.js";
import { withoutSilenceMarks } from "./silence-marks.js";
import { isUnheard } from "./unheard.js";

/** A segment's text was doubted, and its audio decoded again. */
export interface Retry {
  /** "agreement": the CTC head hears another text of joined neighbours. */
  readonly reason: Doubt | "agreement";
  readonly method: "shorter pieces" | "repetition penalty";
  /** Whether its text is the segment's. */
  readonly used: boolean;
}

/** How a segment's text ended; "no-speech": the CTC head heard none of it, and it was left out. */
export type SegmentFinish = Finish | "no-speech";

/** A segment of a transcript; times in seconds from the recording's begin. */
export interface TranscriptSegment {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly finish: SegmentFinish;
  /** The text that was left out, because the CTC head heard no speech. */
  readonly dropped?: string;
  /** With a CTC head, as are the next two; times from the recording's begin. */
  readonly words?: readonly Word[];
  readonly wordsFailure?: string;
  readonly agreement?: number;
  /** Absent: the first text was not doubted. */
  readonly retries?: readonly Retry[];
}

/** Where the segments of a recording come from, as its samples come. */
export interface SpeechFeed {
  /** @returns the segments that ended */
  push(samples: Float32Array): Promise<readonly SpeechSegment[]>;
  /** @returns the segments that end with the audio */
  end(): Promise<readonly SpeechSegment[]>;
  /** The earliest begin of a segment that was not returned, ms. */
  readonly pendingMs: number;
  /** The open segment, up to a time that its end will not be before, ms. */
  readonly open?: SpeechSegment | undefined;
  /** Probability of speech of each frame, from `pendingMs` on. */
  readonly speech: SpeechIn;
  /** Frames before this time are not asked for again. */
  forget(beforeMs: number): void;
}

/** How the segments' audio becomes text. */
export interface SegmentDecoder {
  /** Hz */
  readonly sampleRate: number;
  /** Features of a segment's samples, [n] f32. `name` is for errors. */
  prepare(samples: Float32Array, name: string): PreparedClip;
  /** The texts of segments that run together, in their order. */
  transcribe(
    clips: readonly PreparedClip[],
    options: { readonly repetitionPenalty?: number },
  ): Promise<readonly Transcription[]>;
  /** Tokens of a clip's audio. */
  audioTokens(clip: PreparedClip): number;
}

/** How a recording is cut and run, and what hears of it. */
export interface RecordingOptions extends PlanOptions {
  /** Segments run together while their audio has at most so many tokens. */
  readonly batchTokens: number;
  /** Segments that run together at most. */
  readonly batch: number;
  /** What the decoder applies anyhow. A text that is doubted is decoded again with 1.2 or more. */
  readonly repetitionPenalty?: number | undefined;
  /** The result of a segment that an earlier run has transcribed; undefined: it is transcribed. */
  readonly known?: (segment: SpeechSegment) => TranscriptSegment | undefined;
  /** Called with each segment, in the order of time. */
  readonly onSegment?: (segment: TranscriptSegment) => void;
  /** Seconds of the recording that are done. */
  readonly onProgress?: (seconds: number) => void;
}

/** What the model makes of a segment. */
type Answer = Pick<
  TranscriptSegment,
  "text" | "tokenIds" | "finish" | "words" | "wordsFailure" | "agreement" | "dropped"
> &
  Pick<Transcription, "ctcText">;

interface Job extends PlannedSegment {
  readonly samples: Float32Array;
  readonly clip: PreparedClip;
  readonly speech: Float32Array;
}

const LEAST_MS = 25;
const STEP_SECONDS = 10; // of a long block
const PENALTY = 1.2;
const SHORTEST_HALVED = 2000; // ms
const HALVINGS = 2;
const LEAST_AGREEMENT = 0.7; // of joined neighbours

/**
 * Transcribes a recording of any length as its samples come, in segments. The memory is that of the
 * segments at work. A segment's text depends on its own samples alone.
 */
export class Recording {
  readonly #audio = new AudioWindow();
  readonly #planner: Planner;
  readonly #queue: (Job | TranscriptSegment)[] = [];

  constructor(
    private readonly name: string,
    private readonly feed: SpeechFeed,
    private readonly decoder: SegmentDecoder,
    private readonly options: RecordingOptions,
  ) {
    this.#planner = new Planner(options, (from, to) => feed.speech(from, to));
  }

  /**
   * Takes samples, and transcribes the segments that make whole batches.
   * @param samples  [n] f32 at the decoder's rate, of any length; kept as a view until its segments
   *                 are done
   */
  async push(samples: Float32Array): Promise<void> {
    const step = STEP_SECONDS * this.decoder.sampleRate;
    for (let at = 0; at < samples.length; at += step) await this.#push(samples.subarray(at, at + step));
  }

  async #push(samples: Float32Array): Promise<void> {
    this.#audio.push(samples);
    for (const segment of await this.feed.push(samples)) this.#settle(this.#planner.add(segment));
    const { open, pendingMs } = this.feed;
    if (open) this.#settle(this.#planner.grow(open.startMs, open.endMs));
    const needed = this.#planner.neededMs(pendingMs);
    this.feed.forget(needed);
    this.#audio.drop(this.#sample(needed));
    await this.#run(false);
  }

  /** Ends the recording. @returns its seconds */
  async end(): Promise<number> {
    for (const segment of await this.feed.end()) this.#settle(this.#planner.add(segment));
    this.#settle(this.#planner.end());
    await this.#run(true);
    const seconds = this.#audio.length / this.decoder.sampleRate;
    this.options.onProgress?.(seconds);
    return seconds;
  }

  #sample(ms: number): number {
    return Math.round((ms * this.decoder.sampleRate) / 1000);
  }

  #settle(segments: readonly PlannedSegment[]): void {
    for (const segment of segments) {
      const samples = this.#audio.slice(this.#sample(segment.startMs), this.#sample(segment.endMs));
      if (samples.length < this.#sample(LEAST_MS)) continue; // no frame of the front-end
      const known = this.options.known?.(segment);
      if (known) {
        this.#queue.push(known);
        continue;
      }
      const clip = this.decoder.prepare(samples, nameOf(this.name, segment));
      const speech = this.feed.speech(segment.startMs, segment.endMs).slice();
      this.#queue.push({ ...segment, samples, clip, speech });
    }
  }

  /** Runs whole batches; with `all` the last one too. */
  async #run(all: boolean): Promise<void> {
    for (;;) {
      this.#passKnown();
      const jobs = this.#fitting();
      const count = jobs.length;
      if (count === 0 || (count === this.#queue.length && !all && count < this.options.batch)) return;
      this.#queue.splice(0, count);
      const results = await this.decoder.transcribe(
        jobs.map(({ clip }) => clip),
        {},
      );
      for (const [i, job] of jobs.entries()) this.options.onSegment?.(await this.#checked(job, results[i]));
      this.options.onProgress?.(jobs[count - 1].endMs / 1000);
    }
  }

  /** Gives out what is known at the queue's begin. */
  #passKnown(): void {
    for (let first = this.#queue.at(0); first && !("clip" in first); first = this.#queue.at(0)) {
      this.#queue.shift();
      this.options.onSegment?.(first);
      this.options.onProgress?.(first.end);
    }
  }

  /** Segments of the queue that make a batch. */
  #fitting(): Job[] {
    const { batch, batchTokens } = this.options;
    const jobs: Job[] = [];
    let tokens = 0;
    for (const job of this.#queue.slice(0, batch)) {
      if (!("clip" in job)) break;
      tokens += this.decoder.audioTokens(job.clip);
      if (jobs.length > 0 && tokens > batchTokens) break;
      jobs.push(job);
    }
    return jobs;
  }

  /** A segment, decoded again where its text is doubted. */
  async #checked(job: Job, first: Transcription): Promise<TranscriptSegment> {
    const { startMs, endMs } = job;
    const reason = (await doubtIn(job, first)) ?? (isMisjoined(job, first) ? "agreement" : undefined);
    const retries: Retry[] = [];
    let best: Answer = first;
    for (const method of methodsFor(reason)) {
      const again =
        method === "shorter pieces" ? await this.#inPieces(job, HALVINGS) : await this.#penalised(job);
      if (again === undefined) continue;
      const better = reason !== "agreement" || again.agreement! > first.agreement!;
      const used = better && (await doubtIn(job, again)) === undefined;
      retries.push({ reason: reason!, method, used });
      if (!used) continue;
      best = again;
      break;
    }
    return {
      start: startMs / 1000,
      end: endMs / 1000,
      ...answerAt(best, startMs / 1000),
      ...(retries.length > 0 && { retries }),
    };
  }

  /** The text with a stronger penalty; undefined where it is as strong already. */
  async #penalised({ clip }: Job): Promise<Transcription | undefined> {
    if ((this.options.repetitionPenalty ?? 1) >= PENALTY) return undefined;
    const [again] = await this.decoder.transcribe([clip], { repetitionPenalty: PENALTY });
    return again;
  }

  /** The text of joined neighbours apart, else of a segment in two; a part that is doubted is cut again. */
  async #inPieces(job: Job, depth: number): Promise<Answer | undefined> {
    const parts = (job.parts ?? halves(job, depth)).map((part) => this.#part(job, part));
    if (parts.length === 0) return undefined;
    const results = await this.decoder.transcribe(
      parts.map(({ clip }) => clip),
      {},
    );
    const answers: Answer[] = [];
    for (const [i, part] of parts.entries()) {
      const doubted = (await doubtIn(part, results[i])) !== undefined;
      const answer = (doubted ? await this.#inPieces(part, depth - 1) : undefined) ?? results[i];
      answers.push(answerAt(answer, (part.startMs - job.startMs) / 1000));
    }
    return joinedAnswers(answers);
  }

  #part(job: Job, part: SpeechSegment): Job {
    const begin = this.#sample(part.startMs) - this.#sample(job.startMs);
    const samples = job.samples.slice(begin, begin + this.#sample(part.endMs) - this.#sample(part.startMs));
    const clip = this.decoder.prepare(samples, nameOf(this.name, part));
    return { ...part, samples, clip, speech: speechIn(job, part.startMs, part.endMs) };
  }
}

/** A segment cut where speech is least probable; none where it is too short. */
function halves(job: Job, depth: number): SpeechSegment[] {
  const { startMs, endMs } = job;
  const length = endMs - startMs;
  if (length < SHORTEST_HALVED || depth === 0) return [];
  const middle = { startMs: startMs + length / 4, endMs: endMs - length / 4 };
  const cut = leastSpeech((from, to) => speechIn(job, from, to), middle);
  return [
    { startMs, endMs: cut },
    { startMs: cut, endMs },
  ];
}

/** Whether the CTC head hears another text of joined neighbours: their model may know single ones. */
function isMisjoined({ parts }: Job, { agreement = 1 }: Transcription): boolean {
  return parts !== undefined && agreement < LEAST_AGREEMENT;
}

function methodsFor(reason: Retry["reason"] | undefined): readonly Retry["method"][] {
  if (reason === undefined) return [];
  return reason === "agreement" ? ["shorter pieces"] : ["shorter pieces", "repetition penalty"];
}

function speechIn({ startMs, speech }: Job, fromMs: number, toMs: number): Float32Array {
  return speech.subarray(Math.floor((fromMs - startMs) / FRAME_MS), Math.floor((toMs - startMs) / FRAME_MS));
}

function doubtIn(
  job: SpeechSegment,
  { text, finish }: Pick<Answer, "text" | "finish">,
): Promise<Doubt | undefined> {
  const ended = finish === "no-speech" ? "stop" : finish;
  return doubtOf(withoutSilenceMarks(text), ended, (job.endMs - job.startMs) / 1000);
}

function nameOf(name: string, { startMs, endMs }: SpeechSegment): string {
  return `${name} (${startMs / 1000} to ${endMs / 1000} s)`;
}

/** An answer with its words' times shifted, s; a text that the CTC head did not hear is left out. */
function answerAt(answer: Answer, start: number): Answer {
  const { tokenIds, finish, words, wordsFailure, agreement, ctcText, dropped } = answer;
  const text = withoutSilenceMarks(answer.text);
  if (isUnheard({ text, words, agreement, ctcText }))
    return { text: "", tokenIds: [], finish: "no-speech", dropped: text, agreement };
  const at = (seconds: number): number => Math.round((seconds + start) * 1000) / 1000;
  const moved = words?.map((word) => ({ ...word, start: at(word.start), end: at(word.end) }));
  return {
    text,
    tokenIds,
    finish,
    ...(dropped !== undefined && { dropped }),
    ...(moved && { words: moved }),
    ...(wordsFailure !== undefined && { wordsFailure }),
    ...(agreement !== undefined && { agreement }),
  };
}

/** The answers of a segment's parts as one; its agreement is the mean of the kept texts, by their lengths. */
function joinedAnswers(answers: readonly Answer[]): Answer {
  const weights = answers.map(({ text, finish }) => (finish === "no-speech" ? 0 : 1 + text.length));
  const agreements = answers.map(({ agreement }, i) => (agreement ?? NaN) * weights[i]);
  const agreement = sum(agreements) / Math.max(1, sum(weights));
  const timed = answers.every(({ words, finish }) => words ?? finish === "no-speech");
  const failure = answers.find(({ wordsFailure }) => wordsFailure !== undefined)?.wordsFailure;
  const dropped = joinTexts(answers.map((answer) => answer.dropped ?? ""));
  const silent = answers.every(({ finish }) => finish === "no-speech");
  const cut = answers.find(({ finish }) => finish === "loop" || finish === "length");
  return {
    text: joinTexts(answers.map(({ text }) => text)),
    tokenIds: answers.flatMap(({ tokenIds }) => tokenIds),
    finish: cut?.finish ?? (silent ? "no-speech" : "stop"),
    ...(dropped !== "" && { dropped }),
    ...(timed && { words: answers.flatMap(({ words = [] }) => words) }),
    ...(failure !== undefined && { wordsFailure: failure }),
    ...(!Number.isNaN(agreement) && { agreement: Math.round(1000 * agreement) / 1000 }),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, value) => total + value, 0);
}

/** What no segment has of a recording, in seconds. */
export function silencesOf(
  segments: readonly Pick<TranscriptSegment, "start" | "end">[],
  seconds: number,
): { readonly start: number; readonly end: number }[] {
  const starts = [...segments.map(({ start }) => start), seconds];
  const ends = [0, ...segments.map(({ end }) => end)];
  return starts.map((end, i) => ({ start: ends[i], end })).filter(({ start, end }) => end > start);
}
