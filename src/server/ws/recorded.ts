import { PassThrough } from "node:stream";
import { wavBytes } from "../../frontend/write-wav.js";
import type { JobResult } from "../engine/engine.js";
import { EngineError } from "../engine/errors.js";
import { ApiError } from "../http/api-error.js";
import type { Visit } from "../http/admission.js";
import type { Spooled } from "../http/spool.js";
import type { Peer, SessionParts } from "./peer.js";
import type { TwoPassSettings } from "./two-pass-settings.js";

/** Audio of a connection that is transcribed as a whole; it goes to the disk while it comes. */
export class Recorded {
  readonly #stream = new PassThrough();
  readonly #written: Promise<Spooled>;
  readonly #gone = new AbortController();
  readonly #visit: Visit;
  #bytes = 0;
  #begun = false;
  /** No more audio is taken. */
  #ended = false;

  /**
   * @param fail  gets what the disk reports while audio comes; nothing is heard then
   * @throws ApiError  too many requests are in work
   */
  constructor(
    private readonly parts: SessionParts,
    readonly settings: TwoPassSettings,
    private readonly peer: Peer,
    fail: (error: unknown) => void,
  ) {
    this.#visit = parts.admission.arrive();
    this.#stream.on("error", () => undefined); // the disk's, or that of bytes behind it
    this.#stream.on("drain", () => peer.release(this));
    this.#written = parts.spool.write(this.#stream);
    this.#written.catch((error: unknown) => {
      if (this.#ended) return; // result() throws it, or nobody asks
      void this.close();
      fail(error);
    });
  }

  /** @throws ApiError  more than an upload may have */
  push(bytes: Buffer): void {
    if (this.#ended) return;
    if (!this.#begun) this.#head(bytes);
    this.#begun = true;
    this.#bytes += bytes.length;
    if (this.#bytes > this.parts.settings.maxUploadBytes) {
      void this.close();
      throw new ApiError(
        413,
        `audio: expected at most ${this.parts.settings.maxUploadBytes} bytes, got more`,
        {
          code: "request_too_large",
        },
      );
    }
    if (!this.#stream.write(bytes)) this.peer.hold(this); // the disk is slower than the client
  }

  /** Bare PCM gets the head of a WAV file whose length is open. */
  #head(bytes: Buffer): void {
    const { format, rate } = this.settings;
    if (format !== "pcm" || bytes.subarray(0, 4).toString("latin1") === "RIFF") return;
    const head = Buffer.from(wavBytes(new Float32Array(0), rate));
    head.writeUInt32LE(0xffffffff, 4);
    head.writeUInt32LE(0xffffffff, 40);
    this.#stream.write(head);
  }

  /** @throws ApiError  no place is free; EngineError; what the disk reports */
  async result(): Promise<JobResult> {
    const { engine, settings, metrics } = this.parts;
    this.#ended = true;
    const late = new EngineError({
      kind: "deadline",
      message: `no result within ${settings.timeoutMs / 1000} s`,
    });
    const timer = setTimeout(() => this.#gone.abort(late), settings.timeoutMs);
    try {
      this.#stream.end();
      this.peer.release(this); // an ended stream reports no drain, and a held client cannot be seen to leave
      const { path } = await this.#written;
      this.#visit.enter();
      const { wish, wavName } = this.settings;
      const job = { ...wish, file: path, name: wavName, task: "transcribe" as const, words: true };
      const result = await engine.run(
        { ...job, maxSeconds: settings.maxSeconds },
        { signal: this.#gone.signal },
      );
      metrics.finished(result);
      this.#visit.done(result.workSeconds);
      return result;
    } finally {
      clearTimeout(timer);
      await this.close();
    }
  }

  /** Ends the work and removes the audio. */
  async close(): Promise<void> {
    this.#ended = true;
    this.#gone.abort();
    this.#visit.leave();
    this.#stream.destroy();
    this.peer.release(this);
    await this.#written.then(({ remove }) => remove()).catch(() => undefined);
  }
}
