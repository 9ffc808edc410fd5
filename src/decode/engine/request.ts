import type { PreparedClip } from "../transcriber.js";
import { DeadlineError } from "./errors.js";
import type { EngineTranscription, SubmitOptions } from "./options.js";
import type { Waiting } from "./queue.js";
import type { Plan } from "./row.js";

const longestTimer = 2 ** 31 - 1; // ms

/** A request from `submit` to its end. */
export class Request implements Waiting {
  readonly live: boolean;
  readonly owner: object;
  readonly result: Promise<EngineTranscription>;
  readonly submitted = performance.now();
  /** Its audio and prompt are read with no other's: a step that it shared failed. */
  alone = false;
  /** Set at the end: nothing more is done for it. */
  #ended = false;
  #resolve!: (result: EngineTranscription) => void;
  #reject!: (error: unknown) => void;
  readonly #cleanup: (() => void)[] = [];

  constructor(
    readonly clip: PreparedClip,
    readonly plan: Plan,
    readonly options: SubmitOptions,
  ) {
    this.live = options.priority === "live";
    this.owner = options.owner ?? this;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.result.catch(() => undefined); // the caller of `submit` may come to it later
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Calls `cancel` with the reason when the signal or the deadline ends the request. */
  watch(cancel: (reason: unknown) => void): void {
    const { signal, timeoutMs } = this.options;
    if (signal) {
      const aborted = (): void => cancel(signal.reason);
      signal.addEventListener("abort", aborted, { once: true });
      this.#cleanup.push(() => signal.removeEventListener("abort", aborted));
    }
    if (timeoutMs !== undefined && timeoutMs <= longestTimer) {
      const timer = setTimeout(() => cancel(new DeadlineError(timeoutMs)), timeoutMs);
      this.#cleanup.push(() => clearTimeout(timer));
    }
  }

  /** @returns  whether the request had not ended before, as of `reject` */
  resolve(result: EngineTranscription): boolean {
    return this.#end(() => this.#resolve(result));
  }

  reject(error: unknown): boolean {
    return this.#end(() => this.#reject(error));
  }

  #end(settle: () => void): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    settle();
    for (const undo of this.#cleanup) undo();
    return true;
  }
}
