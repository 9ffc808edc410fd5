import type { LiveEvent, LiveOptions } from "./engine.js";
import { EngineError } from "./errors.js";
import type { Models } from "./transcribe.js";

/** What hears of a live session. */
export interface LiveSink {
  readonly event: (event: Exclude<LiveEvent, { type: "failed" }>) => void;
  /** The session has ended. */
  readonly fail: (error: unknown) => void;
}

/** Audio that is transcribed while it comes. */
export class LiveTranscript {
  constructor(
    readonly models: Models,
    readonly options: LiveOptions,
    private readonly sink: LiveSink,
  ) {}

  push(samples: Float32Array): void {
    const message = `live: expected no samples yet, got ${samples.length}`;
    this.sink.fail(new EngineError({ kind: "internal", message }));
  }

  commit(): void {
    return;
  }

  clear(): void {
    return;
  }

  close(): void {
    return;
  }
}
