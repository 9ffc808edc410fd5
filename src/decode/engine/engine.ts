import { expectArgument } from "../../arguments.js";
import { GpuError } from "../../gpu/errors.js";
import { DecodeError } from "../loop.js";
import type { PreparedClip, Transcriber, Transcription } from "../transcriber.js";
import { EngineClosedError, QueueFullError } from "./errors.js";
import type { EngineOptions, EngineStats, EngineTranscription, SubmitOptions } from "./options.js";
import { TurnQueue } from "./queue.js";
import { Request } from "./request.js";

/**
 * Transcribes the requests of many callers on one model: they share its decoding steps, begin as
 * others end, and each has the result that it has alone.
 */
export class TranscriptionEngine {
  readonly #queue = new TurnQueue<Request>();
  readonly #maxQueue: number;
  readonly #counts = { finished: 0, failed: 0, cancelled: 0, refused: 0 };
  readonly #room: (() => void)[] = []; // those that wait for a place in the queue
  #tokens = 0;
  #audioSeconds = 0;
  #running: Request | undefined;
  #loop: Promise<void> | undefined;
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
    this.#maxQueue = options.maxQueue ?? 64;
  }

  /** Whether the device is lost: every request is rejected with the GpuError that says so. */
  get lost(): boolean {
    return this.#loss !== undefined || this.transcriber.gpu.lost;
  }

  get stats(): EngineStats {
    return {
      queued: this.#queue.length,
      queuedLive: this.#queue.live,
      reading: 0,
      rows: this.#running ? 1 : 0,
      ...this.#counts,
      steps: this.#tokens,
      tokens: this.#tokens,
      reads: 0,
      audioSeconds: this.#audioSeconds,
      pages: { all: 0, used: 0, promised: 0, most: 0 },
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
    const request = new Request(clip, options);
    request.watch((reason) => this.#cancel(request, reason));
    await this.#enter(request);
    return request.result;
  }

  /** Settles when no request waits or runs. */
  async idle(): Promise<void> {
    while (this.#loop) await this.#loop;
  }

  /** Ends all requests with an EngineClosedError and gives the engine's GPU memory back. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const request of this.#queue.items) this.#cancel(request, new EngineClosedError());
    if (this.#running) this.#cancel(this.#running, new EngineClosedError());
    this.#freePlaces();
    await this.idle();
  }

  /** Puts a request into the queue, once there is room where it waits for that. */
  async #enter(request: Request): Promise<void> {
    const { signal, waitForRoom } = request.options;
    signal?.throwIfAborted();
    while (waitForRoom && !this.#closed && !request.ended && this.#queue.length >= this.#maxQueue)
      await new Promise<void>((resolve) => this.#room.push(resolve));
    if (request.ended) return;
    const refused = this.#refusal();
    if (refused) {
      request.reject(refused);
      return;
    }
    this.#queue.add(request);
    this.#loop ??= this.#run().finally(() => (this.#loop = undefined));
  }

  #refusal(): Error | undefined {
    if (this.#closed) return new EngineClosedError();
    if (this.#loss) return this.#loss;
    if (this.#queue.length < this.#maxQueue) return undefined;
    this.#counts.refused++;
    return new QueueFullError(this.#queue.length, 1);
  }

  #freePlaces(): void {
    for (const enter of this.#room.splice(0)) enter();
  }

  #cancel(request: Request, reason: unknown): void {
    if (request.reject(reason)) this.#counts.cancelled++;
    if (this.#queue.drop(request)) this.#freePlaces();
  }

  async #run(): Promise<void> {
    for (let request = this.#queue.first; request; request = this.#queue.first) {
      this.#queue.serve(request);
      this.#freePlaces();
      this.#running = request;
      const queuedSeconds = (performance.now() - request.submitted) / 1000;
      try {
        const { onText, signal, maxNewTokens, repetitionPenalty, ...prompt } = request.options;
        const [result] = await this.transcriber.transcribe([request.clip], {
          ...prompt,
          maxNewTokens,
          repetitionPenalty,
          signal,
          ...(onText && { onText: (_: number, text: string) => onText(text) }),
        });
        this.#finish(request, { ...result, queuedSeconds });
      } catch (error) {
        if (error instanceof GpuError && this.transcriber.gpu.lost) this.#loss = error;
        if (request.reject(error)) this.#counts.failed++;
      }
      this.#running = undefined;
    }
  }

  #finish(request: Request, result: Transcription & { readonly queuedSeconds: number }): void {
    this.#counts.finished++;
    this.#tokens += result.tokenIds.length;
    this.#audioSeconds += request.clip.audioSeconds;
    request.resolve(result);
  }
}
