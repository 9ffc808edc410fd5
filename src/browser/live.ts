import { liveParts } from "../decode/live/engine-parts.js";
import { LiveSession } from "../decode/live/session.js";
import type { LiveEvent, LiveParts } from "../decode/live/options.js";
import { BrowserError } from "./errors.js";
import type { LiveRequest } from "./messages.js";
import type { Models } from "./models.js";
import { expectEngine } from "./transcribe.js";

/** Voice activity of a session whose segments end by their length alone. */
const deaf: ReturnType<LiveParts["openStream"]> = {
  push: () => Promise.resolve({ silence: new Float32Array(0) }),
  free: () => undefined,
};

/** A live session, from the page's call to its end. Samples may come before the models are open. */
export class LiveCall {
  #early: Float32Array[] = [];
  #finished = false;
  #session: LiveSession | undefined;

  push(samples: Float32Array): void {
    if (this.#session) this.#session.push(samples);
    else this.#early.push(samples);
  }

  finish(): void {
    this.#finished = true;
    this.#session?.commit();
  }

  /**
   * Runs the session until it is finished and all of it has its final text.
   * @throws BrowserError  no model, or no voice activity net; what the session throws; the signal's
   *         reason
   */
  run(
    models: Models,
    request: LiveRequest,
    { onEvent, signal }: { readonly onEvent: (event: LiveEvent) => void; readonly signal: AbortSignal },
  ): Promise<void> {
    const engine = expectEngine(models);
    const { detector } = models;
    if (!detector && request.endpoints !== false)
      throw new BrowserError(
        "usage",
        "live: expected a voice activity net, got none at the start; start with `vad`, or set `endpoints` to false",
      );
    return new Promise<void>((resolve, reject) => {
      signal.throwIfAborted();
      const parts = liveParts(engine, detector!);
      const session = new LiveSession(
        detector ? parts : { ...parts, openStream: () => deaf },
        request,
        (event) => {
          onEvent(event);
          if (event.type !== "committed") return;
          session.close();
          resolve();
        },
        reject,
      );
      this.#session = session;
      signal.addEventListener("abort", () => {
        session.close();
        reject(signal.reason as Error);
      });
      for (const samples of this.#early.splice(0)) session.push(samples);
      if (this.#finished) session.commit();
    });
  }
}
