import type { Job, JobEvents, JobResult } from "./engine.js";
import { EngineError } from "./errors.js";

/** A job that has no result yet. */
export class Pending {
  /** How often it was given to a process. */
  tries = 0;
  /** Whether a process works on it. */
  running = false;
  onAbort: () => void = () => undefined;
  /** Characters that were passed on, and those that a process still has to repeat. */
  #passed = 0;
  #repeated = 0;

  constructor(
    readonly id: number,
    readonly job: Job,
    readonly events: JobEvents,
    private readonly promise: {
      readonly resolve: (result: JobResult) => void;
      readonly reject: (error: EngineError) => void;
    },
  ) {}

  begin(): void {
    this.tries++;
    this.running = true;
    this.#repeated = this.#passed;
  }

  /** Passes text on; what an earlier process gave is not passed twice. */
  delta(text: string): void {
    const rest = text.slice(this.#repeated);
    this.#repeated = Math.max(0, this.#repeated - text.length);
    if (rest === "") return;
    this.#passed += rest.length;
    this.events.onDelta?.(rest);
  }

  settle(outcome: JobResult | EngineError): void {
    this.running = false;
    this.events.signal?.removeEventListener("abort", this.onAbort);
    if (outcome instanceof EngineError) this.promise.reject(outcome);
    else this.promise.resolve(outcome);
  }
}
