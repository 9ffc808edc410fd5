import { withoutSilenceMarks } from "../segments/silence-marks.js";
import { expectArgument } from "../../arguments.js";
import type { TensorData } from "../../gpu/device.js";
import { GpuError } from "../../gpu/errors.js";
import { pageRows } from "../../kernels/attention/variants.js";
import { DecodeError, accept } from "../loop.js";
import type { PreparedClip, Transcriber } from "../transcriber.js";
import { EngineClosedError, QueueFullError } from "./errors.js";
import type { Flight } from "./lane.js";
import type { EngineOptions, EngineStats, EngineTranscription, SubmitOptions } from "./options.js";
import { TurnQueue } from "./queue.js";
import { type Read, failedRead } from "./reader.js";
import { Request } from "./request.js";
import type { Plan, Row } from "./row.js";
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
  readonly #queue = new TurnQueue<Request>();
  /** Requests whose group failed: each is read again by itself. */
  readonly #again: Request[] = [];
  readonly #room: (() => void)[] = []; // those that wait for a place in the queue
  readonly #counts = { finished: 0, failed: 0, cancelled: 0, refused: 0 };
  readonly #work = { steps: 0, tokens: 0, reads: 0, audioSeconds: 0 };
  /** Rows that have their tokens, and wait for the times of words. */
  readonly #aligning = new Map<Row, Promise<void>>();
  #session: Session | undefined;
  #loop: Promise<void> | undefined;
  #busySeconds = 0;
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
      queued: this.#queue.length + this.#again.length,
      queuedLive: this.#queue.live,
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

  /** Whether no more may wait than do, beside those that can begin. */
  get #full(): boolean {
    const places = this.#session?.places ?? this.#limits.rows;
    return this.#queue.length >= this.#maxQueue + places;
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
    if (request.options.waitForRoom && !this.#refusal() && this.#full) {
      this.#room.push(() => this.#enter(request));
      return;
    }
    const refusal = this.#refusal() ?? (this.#full ? this.#queueFull() : undefined);
    if (refusal) {
      request.reject(refusal);
      return;
    }
    this.#queue.add(request);
    this.#loop ??= this.#run();
  }

  #queueFull(): QueueFullError {
    this.#counts.refused++;
    const waiting = this.#queue.items.reduce((sum, { clip }) => sum + clip.audioSeconds, 0);
    const pace = this.#work.audioSeconds > 0 ? this.#busySeconds / this.#work.audioSeconds : 0;
    const seconds = Math.min(longestRetry, Math.max(1, Math.ceil(waiting * pace)));
    return new QueueFullError(this.#queue.length, seconds);
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
    if (this.#queue.drop(request)) this.#letIn();
  }

  /** Ends every request that waits or runs. */
  #endAll(end: (request: Request) => void): void {
    const { decoding = [], reading = [] } = this.#session ?? {};
    const rows = [...decoding, ...reading, ...this.#aligning.keys()];
    for (const request of [...this.#queue.items, ...this.#again, ...rows.map((row) => row.request)])
      end(request);
    this.#letIn();
  }

  /** Steps until no request is left: each is submitted before the one before it is read. */
  async #run(): Promise<void> {
    await Promise.resolve(); // what is submitted in the same turn begins together
    const began = performance.now();
    let before: Submitted = { flights: [], session: undefined };
    for (;;) {
      const flights = this.#submit();
      const next = { flights, session: this.#session };
      for (const flight of before.flights) await this.#take(flight, before.session);
      if (next.flights.length + before.flights.length === 0) break;
      before = next;
    }
    this.#busySeconds += (performance.now() - began) / 1000;
    this.#loop = undefined;
  }

  #submit(): (Flight | Read)[] {
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
    return read ? [...flights, read] : flights;
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
    while (this.#again[0]?.ended) this.#again.shift();
    const request = this.#again[0] ?? this.#queue.first;
    if (!request || request.live !== live || request.clip.frames > frames) return undefined;
    if (!this.#session!.fits(request)) return undefined;
    if (request.alone && frames !== Infinity) return undefined;
    if (this.#again[0] === request) this.#again.shift();
    else this.#queue.serve(request);
    this.#letIn();
    return this.#session!.open(request);
  }

  async #take(flight: Flight | Read, session: Session | undefined): Promise<void> {
    let seen: TensorData;
    try {
      seen = await flight.seen;
    } catch (error) {
      if ("readers" in flight) this.#readFailed(error, flight.readers);
      else this.#stepFailed(error, flight.rows);
      const unknown = error instanceof GpuError && error.reported && !this.lost;
      if (unknown && session && session === this.#session) this.#abandon(error, session);
      return;
    }
    if ("done" in flight) flight.done(seen);
    const tokens = flight.pick(seen);
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
      this.#again.push(request);
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
