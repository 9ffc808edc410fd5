import type { LiveEvent } from "../decode/live/options.js";
import { BrowserError, fromWire } from "./errors.js";
import type {
  BenchRow,
  BenchSection,
  BundleChoice,
  CallName,
  Calls,
  EngineFacts,
  EngineMemory,
  LiveRequest,
  StartOptions,
  StartProgress,
  ToPage,
  ToWorker,
  TranscribeEvent,
  TranscribeRequest,
  TranscribeResult,
  VerifyRow,
} from "./messages.js";
import type { PageWorker, PortEvent } from "./platform.js";

export { BrowserError, type BrowserErrorCode, EngineFailure } from "./errors.js";
export type {
  BenchRow,
  BenchSection,
  BundleChoice,
  EngineFacts,
  EngineMemory,
  LiveRequest,
  ModelChoice,
  ModelFacts,
  StartOptions,
  StartProgress,
  TranscribeEvent,
  TranscribeRequest,
  TranscribeResult,
  VerifyRow,
} from "./messages.js";
export type { DirectoryHandle, PageWorker } from "./platform.js";

/** A call's signal. */
export interface CallOptions {
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** How a worker is started. */
export interface SpeechWorkerOptions extends StartOptions, CallOptions {
  /** Called while models are downloaded, loaded and compiled. */
  readonly onProgress?: ((progress: StartProgress) => void) | undefined;
  /** Called where the device is lost; the next call, or the one that runs, opens it again. */
  readonly onLost?: ((reason: string) => void) | undefined;
}

/** Speech on its way to live text. */
export interface LiveSpeech {
  /**
   * Takes the next samples.
   * @param samples  [n] f32, mono, 16 kHz, range [-1, 1]; their buffer is moved, unless they are a part of it
   */
  push(samples: Float32Array<ArrayBuffer>): void;
  /** Ends the speech. Settles when all of it has its final text. */
  finish(): Promise<void>;
  /** Rejects where the session fails or is aborted; settles after `finish`. */
  readonly ended: Promise<void>;
}

/** How long `close` waits for a worker, ms. */
const closeMs = 3000;

interface Waiting {
  readonly event: (event: unknown) => void;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The engine in a worker, for a page. One worker has one engine; its calls run beside each other.
 * ```ts
 * const worker = new Worker(new URL("funasr-webgpu/worker", import.meta.url), { type: "module" });
 * const speech = await SpeechWorker.start(worker, { model: { url: "models/demo/" } });
 * const { text } = await speech.transcribe(file);
 * ```
 */
export class SpeechWorker {
  #facts: EngineFacts | undefined;
  #next = 1;
  #ended: Error | undefined;
  readonly #waiting = new Map<number, Waiting>();

  private constructor(
    private readonly worker: PageWorker,
    private readonly onLost: ((reason: string) => void) | undefined,
  ) {
    worker.addEventListener("message", ({ data }) => this.#take(data as ToPage));
    const ends = (type: string, reason: string): void =>
      worker.addEventListener(type, (event: PortEvent) => {
        event.preventDefault();
        const why = event.message ?? reason;
        this.#end(new BrowserError("worker", `the engine's worker failed: ${why}; start another`));
      });
    ends("error", "its script, or one that it imports, cannot be loaded");
    ends("messageerror", "a message from it cannot be read");
  }

  /**
   * Opens the device and loads the models in a worker that was just made.
   * @throws BrowserError  this browser or adapter cannot run the model, see its `code`; the worker
   *                       did not start
   * @throws EngineFailure  the checkpoint is damaged, and as Transcriber.load
   */
  static async start(worker: PageWorker, options: SpeechWorkerOptions = {}): Promise<SpeechWorker> {
    const { onProgress, onLost, signal, model, vad, ...wish } = options;
    const speech = new SpeechWorker(worker, onLost);
    try {
      speech.#facts = await speech.#call(
        "start",
        { ...wish, model: absolute(model), vad: absolute(vad) },
        { signal, onEvent: onProgress },
      );
      return speech;
    } catch (error) {
      speech.#end(new BrowserError("worker", "the engine did not start"));
      throw error;
    }
  }

  /** What was opened. */
  get facts(): EngineFacts {
    return this.#facts!;
  }

  /**
   * Transcribes a file of any supported format and of any length, or samples.
   * @param audio  a Blob or File; or [n] f32, mono, 16 kHz, range [-1, 1]
   * @throws EngineFailure  named AudioError, PromptError, DecodeError, GpuError …
   */
  transcribe(
    audio: Blob | Float32Array,
    options: TranscribeRequest & CallOptions = {},
    onEvent?: (event: TranscribeEvent) => void,
  ): Promise<TranscribeResult> {
    const { signal, ...rest } = options;
    const { name = (audio as Partial<File>).name ?? "audio" } = rest;
    return this.#call("transcribe", { audio, request: { ...rest, name } }, { signal, onEvent });
  }

  /** Transcribes speech while it comes. Needs a voice activity net, unless `endpoints` is false. */
  live(options: LiveRequest & CallOptions, onEvent: (event: LiveEvent) => void): LiveSpeech {
    const { signal, ...request } = options;
    const id = this.#next++;
    const ended = this.#call("live", request, { id, signal, onEvent });
    ended.catch(() => undefined); // met by whoever awaits `ended` or `finish`
    return {
      push: (samples) => {
        const whole = samples.byteLength === samples.buffer.byteLength;
        const moved = whole ? samples : samples.slice(); // the rest of the buffer stays the page's
        this.#send({ id, call: "push", samples: moved }, [moved.buffer]);
      },
      finish: () => {
        this.#send({ id, call: "finish" });
        return ended;
      },
      ended,
    };
  }

  /** Runs golden bundles on the device. @param onRow  gets each verdict as it comes */
  verify(
    bundles: readonly BundleChoice[],
    onRow?: (row: VerifyRow) => void,
    { signal }: CallOptions = {},
  ): Promise<readonly VerifyRow[]> {
    return this.#call("verify", bundles.map(absolute), { signal, onEvent: onRow });
  }

  /** Measures the device. @param onRow  gets each figure as it comes */
  bench(
    sections: readonly BenchSection[],
    onRow?: (row: BenchRow) => void,
    { signal }: CallOptions = {},
  ): Promise<readonly BenchRow[]> {
    return this.#call("bench", sections, { signal, onEvent: onRow });
  }

  /** Bytes of GPU buffers now. */
  memory({ signal }: CallOptions = {}): Promise<EngineMemory> {
    return this.#call("memory", undefined, { signal });
  }

  /** Destroys the device, as a driver that fails does: for tests of what follows. */
  loseDevice(): Promise<undefined> {
    return this.#call("loseDevice", undefined);
  }

  /** Ends all calls, frees the device's memory and ends the worker, also one that does not answer. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const closed = this.#call("close", undefined).catch(() => undefined); // the worker ends anyhow
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, closeMs)));
    await Promise.race([closed, late]);
    clearTimeout(timer);
    this.#end(new BrowserError("worker", "the engine was closed"));
  }

  #call<Name extends CallName>(
    call: Name,
    argument: Calls[Name]["argument"],
    options: CallOptions & {
      readonly id?: number;
      readonly onEvent?: ((event: Calls[Name]["event"]) => void) | undefined;
    } = {},
  ): Promise<Calls[Name]["result"]> {
    const { id = this.#next++, signal, onEvent } = options;
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      signal?.throwIfAborted();
      this.#send({ id, call, argument } as ToWorker); // throws where the argument cannot be cloned
      const abort = (): void => {
        this.#waiting.delete(id);
        reject(signal!.reason as Error);
        this.#send({ id, call: "abort" });
      };
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          signal?.removeEventListener("abort", abort);
          settle(value);
        };
      this.#waiting.set(id, {
        event: (event) => onEvent?.(event as Calls[Name]["event"]),
        resolve: settled(resolve as (result: unknown) => void),
        reject: settled(reject),
      });
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  #send(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  #take(message: ToPage): void {
    if (message.type === "lost") this.onLost?.(message.reason);
    if (!("id" in message)) return;
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return; // it was aborted
    if (message.type === "event") {
      waiting.event(message.event);
      return;
    }
    this.#waiting.delete(message.id);
    if (message.type === "done") waiting.resolve(message.result);
    else waiting.reject(fromWire(message.error));
  }

  /** Ends the worker and all calls. */
  #end(error: Error): void {
    this.#ended ??= error;
    this.worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** A choice whose address is that of the page, not of the worker, and whose files can be sent. */
function absolute<T extends object | undefined>(choice: T): T {
  const { document, location } = globalThis as {
    readonly document?: { readonly baseURI: string };
    readonly location?: { readonly href: string };
  };
  const { url, files } = (choice ?? {}) as { readonly url?: string; readonly files?: Iterable<File> };
  if (files) return { ...choice, files: Array.from(files) };
  const base = document?.baseURI ?? location?.href;
  return url === undefined ? choice : { ...choice, url: new URL(url, base).href };
}
