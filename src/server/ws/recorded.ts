import { PassThrough } from "node:stream";
import { wavBytes } from "../../frontend/write-wav.js";
import type { JobResult } from "../engine/engine.js";
import { EngineError } from "../engine/errors.js";
import { ApiError } from "../http/api-error.js";
import type { Place } from "../http/admission.js";
import type { Peer, SessionParts } from "./peer.js";
import type { TwoPassSettings } from "./two-pass-settings.js";

/** Audio of a connection that is transcribed as a whole; it goes to the disk while it comes. */
export class Recorded {
  readonly #stream = new PassThrough();
  readonly #written: ReturnType<SessionParts["spool"]["write"]>;
  readonly #gone = new AbortController();
  readonly #place: Place;
  #bytes = 0;
  #begun = false;
  /** The disk is slower than the client, whose sending waits. */
  #full = false;

  /** @throws ApiError  too many requests are in work */
  constructor(
    private readonly parts: SessionParts,
    private readonly settings: TwoPassSettings,
  ) {
    this.#place = parts.admission.enter();
    this.#written = parts.spool.write(this.#stream);
    this.#written.catch(() => undefined); // thrown by result()
  }

  /** @throws ApiError  more than an upload may have */
  push(bytes: Buffer, peer: Peer): void {
    if (!this.#begun) this.#head(bytes);
    this.#begun = true;
    this.#bytes += bytes.length;
    if (this.#bytes > this.parts.settings.maxUploadBytes) {
      void this.close();
      throw new ApiError(413, `expected at most ${this.parts.settings.maxUploadBytes} bytes, got more`, {
        code: "request_too_large",
      });
    }
    if (this.#stream.write(bytes) || this.#full) return;
    this.#full = true;
    peer.reading(false);
    const goOn = (): void => {
      this.#full = false;
      peer.reading(true);
    };
    this.#stream.once("drain", goOn).once("close", goOn);
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

  /** @throws EngineError; what the disk reports */
  async result(): Promise<JobResult> {
    const { engine, settings, metrics } = this.parts;
    const late = new EngineError({
      kind: "deadline",
      message: `no result within ${settings.timeoutMs / 1000} s`,
    });
    const timer = setTimeout(() => this.#gone.abort(late), settings.timeoutMs);
    try {
      this.#stream.end();
      const { path } = await this.#written;
      const { wish, wavName } = this.settings;
      const job = { ...wish, file: path, name: wavName, task: "transcribe" as const, words: true };
      const result = await engine.run(
        { ...job, maxSeconds: settings.maxSeconds },
        { signal: this.#gone.signal },
      );
      metrics.finished(result);
      return result;
    } finally {
      clearTimeout(timer);
      await this.close();
    }
  }

  /** Ends the work and removes the audio. */
  async close(): Promise<void> {
    this.#gone.abort();
    this.#place.leave();
    this.#stream.destroy();
    await this.#written.then(({ remove }) => remove()).catch(() => undefined);
  }
}
