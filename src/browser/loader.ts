import { GpuError } from "../gpu/errors.js";
import { BrowserError } from "./errors.js";
import type { StartOptions } from "./messages.js";
import { type Models, type StartCall, openModels } from "./models.js";
import type { Platform } from "./platform.js";

/** Keeps the device and the models open: a lost device is opened again by the next call. */
export class Loader {
  #options: StartOptions | undefined;
  #opened: Promise<Models> | undefined;

  constructor(
    private readonly platform: Platform,
    private readonly onLost: (reason: string) => void,
  ) {}

  /** @throws as SpeechWorker.start */
  start(options: StartOptions, call: StartCall): Promise<Models> {
    if (this.#options) throw new BrowserError("usage", "start: expected one start of a worker, got another");
    this.#options = options;
    return this.#open(call);
  }

  /** What is open; where the device was lost it is opened again. */
  async models(): Promise<Models> {
    const quiet: StartCall = { onProgress: () => undefined, signal: new AbortController().signal };
    const models = await (this.#opened ?? this.#open(quiet));
    return models.gpu.lost ? this.#open(quiet) : models;
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
      return await body(await this.models());
    } catch (error) {
      const lost = error instanceof GpuError && error.lost;
      if (!lost || signal.aborted) throw error;
      repeats(error.message);
      return body(await this.models());
    }
  }

  /** Ends all and frees the device. */
  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    const models = await opened?.catch(() => undefined);
    if (!models) return;
    await models.engine?.close();
    models.transcriber?.free();
    models.detector?.free();
    models.gpu.destroy();
  }

  #open(call: StartCall): Promise<Models> {
    const options = this.#options;
    if (!options) throw new BrowserError("usage", "expected a start before this call, got none");
    const opened = openModels(this.platform, options, call);
    this.#opened = opened;
    opened.then(
      ({ gpu }) =>
        void gpu.device.lost.then(({ message, reason }) => {
          if (this.#opened === opened) this.onLost(message || reason);
        }),
      () => undefined,
    );
    return opened;
  }
}
