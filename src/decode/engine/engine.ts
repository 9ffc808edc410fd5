import { withoutSilenceMarks } from "../segments/silence-marks.js";
import { expectArgument } from "../../arguments.js";
import { GpuError } from "../../gpu/errors.js";
import { pageRows } from "../../kernels/attention/variants.js";
import { DecodeError, accept } from "../loop.js";
import type { PreparedClip, Transcriber } from "../transcriber.js";
import { EngineClosedError, QueueFullError } from "./errors.js";
import type { Flight } from "./lane.js";
import type { EngineOptions, EngineStats, EngineTranscription, SubmitOptions } from "./options.js";
import { type Read, failedRead } from "./reader.js";
import { Request } from "./request.js";
import type { Plan, Row } from "./row.js";
import { WaitingList } from "./waiting-list.js";
import { type Limits, Session, pagesIn, pagesOf } from "./session.js";

const usualTokens = 1024; // of a request, for the usual size of the cache
const longestRetry = 60; // s

/** Steps that were submitted together. */
interface Submitted {
  readonly flights: readonly (Flight | Read)[];
  readonly session: Session | undefined;
}

/**
 * Transcribes the requests of many callers on one model: they share its decoding steps, begin as
 * others end, and each has the result that it has alone.
 */
export class TranscriptionEngine {
  readonly #limits: Limits;
  readonly #maxQueue: number;
  readonly #waiting = new WaitingList();
  /** Live requests that began since one of the others that wait did. */
  #overtaken = 0;
  readonly #room: (() => void)[] = []; // those that wait for a place in the queue
  readonly #counts = { finished: 0, failed: 0, cancelled: 0, refused: 0 };
  readonly #work = { steps: 0, tokens: 0, reads: 0, audioSeconds: 0 };
  /** Rows that have their tokens, and wait for the times of words. */
  readonly #aligning = new Map<Row, Promise<void>>();
  #session: Session | undefined;
  #loop: Promise<void> | undefined;
  /** Of loops that ended; and since when the present one runs, performance.now(). */
  #busyMs = 0;
  #began = 0;
  #closed = false;
  #loss: GpuError | undefined;

  /** @throws DecodeError  an option out of range */
  constructor(
    readonly transcriber: Transcriber,
    options: EngineOptions = {},
  ) {
    for (const [name, value] of Object.entries(options) as [string, number | undefined][])
      if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
        throw new DecodeError(`engine: ${name}: expected a whole number from 1, got ${value}`);
    const { gpu, model } = transcriber;
    const { maxPositions } = model.config.llm;
    const { maxRows: rows = 16, maxQueue = 64, maxRead: read = 128, cacheBytes = Infinity } = options;
    const tokens = Math.min(options.maxTokens ?? 2048, maxPositions);
    const usual = Math.max(rows * pagesOf(Math.min(usualTokens, tokens)), pagesOf(tokens));
    const granted = pagesIn(gpu, model.config.llm, cacheBytes);
    const pages = options.cacheBytes === undefined ? Math.min(usual, granted) : granted;
    this.#limits = { rows, read, tokens, pages };
    this.#maxQueue = maxQueue;
  }

  /** Whether the device is lost: every request is rejected with the GpuError that says so. */
  get lost(): boolean {
    return this.#loss !== undefined || this.transcriber.gpu.lost;
  }

  get stats(): EngineStats {
    const session = this.#session;
    return {
      queued: this.#waiting.items.length,
      queuedLive: this.#waiting.items.filter(({ live }) => live).length,
      reading: session?.reading.length ?? 0,
      rows: session?.decoding.length ?? 0,
      ...this.#counts,
      ...this.#work,
      pages: session?.pages ?? { all: 0, used: 0, promised: 0, most: this.#limits.pages },
      gpuBytes: this.transcriber.gpu.bytes,
    };
  }

  /**
   * Transcribes a clip. Its tokens, text and times are those of `transcriber.transcribe([clip],
   * options)`, whatever else runs.
   * @throws QueueFullError     `maxQueue` requests wait already
   * @throws DeadlineError      `timeoutMs` passed
   * @throws EngineClosedError  the engine was closed
   * @throws GpuError           the device failed; see `lost`
   * @throws as Transcriber.transcribe; the signal's reason
   */
  async submit(clip: PreparedClip, options: SubmitOptions = {}): Promise<EngineTranscription> {
    const prepared = (clip as Partial<PreparedClip> | undefined)?.features instanceof Float32Array;
    expectArgument("submit: clip", prepared, "a clip, as prepare(AUDIO, NAME) gives", clip);
    options.signal?.throwIfAborted();
    const request = new Request(clip, this.#plan(clip, options), options);
    request.watch((reason) => this.#cancel(request, reason));
    this.#enter(request);
    return request.result;
  }

  /** Settles when no request waits or runs. */
  async idle(): Promise<void> {
    while (this.#loop || this.#aligning.size > 0)
      await Promise.allSettled([this.#loop, ...this.#aligning.values()]);
  }

  /** Ends all requests with an EngineClosedError and gives the engine's GPU memory back. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#endAll((request) => this.#cancel(request, new EngineClosedError()));
    await this.idle();
    this.#session?.free();
    this.#session = undefined;
  }

  /** Whether no more live requests, or others, may wait than do, beside those that can begin. */
  #full(live: boolean): boolean {
    const places = this.#session?.places(live) ?? this.#limits.rows;
    return this.#waiting.count(live) >= this.#maxQueue + places;
  }

  /** What a clip takes. @throws as Transcriber.transcribe */
  #plan(clip: PreparedClip, options: SubmitOptions): Plan {
    const prompts = this.transcriber.promptTokens([clip], options);
    const [limit] = this.transcriber.limits([clip], prompts, options);
    const [prompt] = prompts;
    const tokens = prompt.ids.length + limit;
    const { prefix = [], repetitionPenalty = 1 } = options;
    if (prefix.length >= limit || (prefix.length > 0 && repetitionPenalty !== 1))
      throw new DecodeError(
        `engine: ${clip.name}: prefix: expected fewer tokens than the answer's ${limit}, and no repetition penalty, got ${prefix.length} and ${repetitionPenalty}`,
      );
    const most = Math.min(this.#limits.tokens, pageRows * this.#limits.pages);
    if (tokens > most)
      throw new DecodeError(
        `engine: ${clip.name}: expected ${most} tokens of prompt and answer at most, got ${prompt.ids.length} and ${limit}; cut the clip into segments, or raise maxTokens and cacheBytes`,
      );
    const ids = [...prompt.ids, ...prefix];
    return { prompt: { ...prompt, ids }, prefix, limit, pages: pagesOf(tokens) };
  }

  #refusal(): Error | undefined {
    return this.#closed ? new EngineClosedError() : this.#loss;
  }

  #enter(request: Request): void {
    if (request.ended) return;
    const { live, options } = request;
    if (options.waitForRoom && !this.#refusal() && this.#full(live)) {
      this.#room.push(() => this.#enter(request));
      return;
    }
    const refusal = this.#refusal() ?? (this.#full(live) ? this.#queueFull(live) : undefined);
    if (refusal) {
      request.reject(refusal);
      return;
    }
    this.#waiting.add(request);
    this.#loop ??= this.#run();
  }

  #queueFull(live: boolean): QueueFullError {
    this.#counts.refused++;
    const waiting = this.#waiting.items.reduce((sum, { clip }) => sum + clip.audioSeconds, 0);
    const busy = (this.#busyMs + (this.#loop ? performance.now() - this.#began : 0)) / 1000;
    const pace = this.#work.audioSeconds > 0 ? busy / this.#work.audioSeconds : 0;
    const seconds = Math.min(longestRetry, Math.max(1, Math.ceil(waiting * pace)));
    return new QueueFullError(this.#waiting.count(live), seconds);
  }

  /** Lets those in that wait for a place in the queue. */
  #letIn(): void {
    for (const enter of this.#room.splice(0)) enter();
  }

  #cancel(request: Request, reason: unknown): void {
    this.#end(request, reason, "cancelled");
  }

  #fail(request: Request, error: unknown): void {
    this.#end(request, error, "failed");
  }

  #end(request: Request, reason: unknown, count: "cancelled" | "failed"): void {
    if (request.reject(reason)) this.#counts[count]++;
    if (this.#waiting.drop(request)) this.#letIn();
  }

  /** Ends every request that waits or runs. */
  #endAll(end: (request: Request) => void): void {
    const { decoding = [], reading = [] } = this.#session ?? {};
    const rows = [...decoding, ...reading, ...this.#aligning.keys()];
    for (const request of [...this.#waiting.items, ...rows.map(({ request }) => request)]) end(request);
    this.#letIn();
  }

  /** Steps until no request is left: each is submitted before the one before it is read. */
  async #run(): Promise<void> {
    this.#began = performance.now();
    await Promise.resolve(); // what is submitted in the same turn begins together
    const nothing: Submitted = { flights: [], session: undefined };
    try {
      for (let before = nothing, next = nothing; ; before = next) {
        try {
          next = this.#submit();
          for (const flight of before.flights) await this.#take(flight, before.session);
        } catch (error) {
          this.#giveUp(error, [...before.flights, ...next.flights]);
          next = nothing;
          continue;
        }
        if (next.flights.length + before.flights.length === 0) break;
      }
    } finally {
      this.#busyMs += performance.now() - this.#began;
      this.#loop = undefined;
    }
  }

  /** A fault of this program: all requests fail with it, and later ones have another session. */
  #giveUp(error: unknown, flights: Submitted["flights"]): void {
    const session = this.#session;
    for (const flight of flights)
      for (const { request } of [...flight.rows, ...("readers" in flight ? flight.readers : [])])
        this.#fail(request, error);
    this.#endAll((request) => this.#fail(request, error));
    this.#session = undefined;
    session?.free();
  }

  #submit(): Submitted {
    const flights: (Flight | Read)[] = [];
    try {
      this.#session ??= new Session(this.transcriber, this.#limits);
      flights.push(...this.#session.decode());
      this.#work.steps += flights.length;
    } catch (error) {
      this.#stepFailed(error, this.#session?.decoding ?? []);
      if (!this.#session) this.#endAll((request) => this.#fail(request, error));
    }
    const read = this.#session && this.#read(this.#session);
    return { flights: read ? [...flights, read] : flights, session: this.#session };
  }

  /** Submits a step of encoder or prompt. A throw is a step that fails those that are being read. */
  #read(session: Session): Read | undefined {
    try {
      const read = session.read((frames, live) => this.#admit(frames, live));
      if (read) this.#work.reads++;
      return read;
    } catch (error) {
      const readers = session.reading;
      if (readers.length === 0) this.#endAll((request) => this.#fail(request, error));
      return failedRead(readers, error as Error);
    }
  }

  /** Makes a row of the next request, if it is of this kind and fits. */
  #admit(frames: number, live: boolean): Row | undefined {
    const session = this.#session!;
    const request = this.#waiting.next(live);
    if (!request || request.clip.frames > frames || !session.fits(request)) return undefined;
    if (request.alone && frames !== Infinity) return undefined;
    const other = live ? this.#waiting.next(false) : undefined;
    if (other && this.#overtaken >= this.#limits.rows && !session.leavesRoom(request, other))
      return undefined;
    this.#overtaken = other ? this.#overtaken + 1 : 0;
    const row = session.open(request);
    this.#waiting.serve(request);
    this.#letIn();
    return row;
  }

  async #take(flight: Flight | Read, session: Session | undefined): Promise<void> {
    let tokens: ArrayLike<number>;
    try {
      const seen = await flight.seen;
      if ("done" in flight) flight.done(seen);
      tokens = flight.pick(seen);
    } catch (error) {
      if ("readers" in flight) this.#readFailed(error, flight.readers);
      else this.#stepFailed(error, flight.rows);
      const unknown = error instanceof GpuError && error.reported && !this.lost;
      if (unknown && session && session === this.#session) this.#abandon(error, session);
      return;
    }
    for (const [i, row] of flight.rows.entries()) if (row.open) this.#accept(row, tokens[i]);
  }

  #accept(row: Row, id: number): void {
    const { request, answer, plan, stream } = row;
    try {
      this.#work.tokens++;
      const joined = accept(answer, id, plan.limit, { stopIds: this.transcriber.stopIds });
      const text = joined && request.options.onText && stream.push(id);
      if (text) request.options.onText?.(text);
      if (answer.finish) this.#finish(row);
    } catch (error) {
      this.#fail(request, error);
    }
  }

  #finish(row: Row): void {
    const { request, answer, times, hidden } = row;
    const rest = row.stream.flush();
    if (rest) request.options.onText?.(rest);
    const { clip } = request;
    const { tokenizer } = this.transcriber;
    const now = performance.now();
    const result: EngineTranscription = {
      text: withoutSilenceMarks(tokenizer.decode(answer.tokenIds, { skipSpecial: true }).trim()),
      tokenIds: answer.tokenIds,
      audioSeconds: clip.audioSeconds,
      seconds: {
        frontend: clip.frontendSeconds,
        encoder: (times.encoded - times.begun) / 1000,
        adaptor: 0,
        prefill: (times.read - times.encoded) / 1000,
        decode: (now - times.read) / 1000,
      },
      finish: answer.finish!,
      queuedSeconds: (times.begun - request.submitted) / 1000,
    };
    if (!hidden) {
      this.#resolve(request, result);
      return;
    }
    const aligned = this.transcriber
      .withTimes([result], [clip.frames], hidden, request.options.signal)
      .then(
        ([timed]) => this.#resolve(request, timed),
        (error: unknown) => {
          this.#lose(error);
          this.#fail(request, error);
        },
      )
      .finally(() => this.#aligning.delete(row));
    this.#aligning.set(row, aligned);
  }

  #resolve(request: Request, result: EngineTranscription): void {
    if (!request.resolve(result)) return;
    this.#counts.finished++;
    this.#work.audioSeconds += result.audioSeconds;
  }

  /** A step of encoder or prompt failed: each of its clips is read once more by itself. */
  #readFailed(error: unknown, rows: readonly Row[]): void {
    const requests = this.#discard(rows);
    const again = !this.#lose(error) && requests.length > 1;
    for (const request of requests) {
      if (!again || request.alone) {
        this.#fail(request, error);
        continue;
      }
      request.alone = true;
      this.#waiting.addAgain(request);
    }
  }

  /**
   * The device failed in a submitted step: what the session's buffers hold is not known, and some may
   * not exist. The next request makes another session.
   */
  #abandon(error: unknown, session: Session): void {
    const { reading, decoding } = session;
    this.#readFailed(error, reading);
    this.#stepFailed(error, decoding);
    this.#session = undefined;
    session.free();
  }

  #stepFailed(error: unknown, rows: readonly Row[]): void {
    const requests = this.#discard(rows);
    this.#lose(error);
    for (const request of requests) this.#fail(request, error);
  }

  /** @returns  the requests of rows whose tokens were still of use */
  #discard(rows: readonly Row[]): Request[] {
    const requests = rows.filter(({ open }) => open).map(({ request }) => request);
    for (const row of rows) row.discard();
    return requests;
  }

  /** Ends everything, where the device is lost. @returns  whether it is */
  #lose(error: unknown): boolean {
    if (!(error instanceof GpuError && this.transcriber.gpu.lost)) return false;
    this.#loss ??= error;
    this.#endAll((request) => this.#fail(request, error));
    return true;
  }
}
