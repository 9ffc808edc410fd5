import { GpuError } from "../gpu/errors.js";
import { BrowserError } from "./errors.js";
import type { StartOptions } from "./messages.js";
import { type Models, type StartCall, openModels } from "./models.js";
import type { Platform } from "./platform.js";

/** Models that are open, or on their way. */
class Opening {
  readonly models: Promise<Models>;
  readonly #abort = new AbortController();
  #waiting = 0;
  #settled = false;

  constructor(open: (signal: AbortSignal) => Promise<Models>) {
    this.models = open(this.#abort.signal).finally(() => (this.#settled = true));
  }

  /** Whether it was aborted: nobody can wait for it any more. */
  get aborted(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Ends an opening that is on its way. */
  abort(reason: unknown): void {
    if (!this.#settled) this.#abort.abort(reason);
  }

  /**
   * The models; where the last of the calls that wait for them is aborted, so is the opening.
   * @param signal  not aborted yet
   */
  async wait(signal: AbortSignal): Promise<Models> {
    let stop: (() => void) | undefined;
    const stopped = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener("abort", stop, { once: true });
    });
    this.#waiting++;
    try {
      return await Promise.race([this.models, stopped]);
    } finally {
      signal.removeEventListener("abort", stop!);
      if (--this.#waiting === 0 && signal.aborted) this.abort(signal.reason);
    }
  }
}

/**
 * Keeps the device and the models open. The next call opens them again where the device was lost or
 * the opening before failed; calls that come meanwhile share it.
 */
export class Loader {
  #options: StartOptions | undefined;
  #opening: Opening | undefined;
  #closed = false;

  constructor(
    private readonly platform: Platform,
    private readonly onLost: (reason: string) => void,
  ) {}

  /** @throws as SpeechWorker.start */
  async start(options: StartOptions, { onProgress, signal }: StartCall): Promise<Models> {
    if (this.#options) throw new BrowserError("usage", "start: expected one start of a worker, got another");
    this.#options = options;
    signal.throwIfAborted();
    return this.#open(onProgress).wait(signal);
  }

  /**
   * What is open; where the device was lost it is opened again.
   * @throws as SpeechWorker.start; the signal's reason
   */
  async models(signal: AbortSignal): Promise<Models> {
    const opening = this.#current(signal);
    const models = await opening.wait(signal);
    if (!models.gpu.lost) return models;
    if (this.#opening === opening) this.#opening = undefined; // the first call that notices opens another
    models.gpu.destroy();
    return this.#current(signal).wait(signal);
  }

  /**
   * Runs a call; where the device is lost in its midst, once more on a new one.
   * @param repeats  called before the second run, with what was lost
   */
  async repeat<T>(
    body: (models: Models) => Promise<T>,
    signal: AbortSignal,
    repeats: (reason: string) => void,
  ): Promise<T> {
    try {
      return await body(await this.models(signal));
    } catch (error) {
      const lost = error instanceof GpuError && error.lost;
      if (!lost || signal.aborted) throw error;
      repeats(error.message);
      return body(await this.models(signal));
    }
  }

  /** Ends all and frees the device. */
  async close(): Promise<void> {
    this.#closed = true;
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.abort(closed());
    const models = await opening?.models.catch(() => undefined);
    if (!models) return;
    await models.engine?.close();
    models.transcriber?.free();
    models.detector?.free();
    models.gpu.destroy();
  }

  #current(signal: AbortSignal): Opening {
    signal.throwIfAborted();
    return this.#opening && !this.#opening.aborted ? this.#opening : this.#open(() => undefined);
  }

  #open(onProgress: StartCall["onProgress"]): Opening {
    const options = this.#options;
    if (this.#closed) throw closed();
    if (!options) throw new BrowserError("usage", "expected a start before this call, got none");
    const opening = new Opening((signal) => openModels(this.platform, options, { onProgress, signal }));
    this.#opening = opening;
    opening.models.then(
      ({ gpu }) =>
        void gpu.device.lost.then(({ message, reason }) => {
          if (!this.#closed) this.onLost(message || reason);
        }),
      () => {
        if (this.#opening === opening) this.#opening = undefined; // the next call tries again
      },
    );
    return opening;
  }
}

function closed(): BrowserError {
  return new BrowserError("worker", "the engine was closed");
}
