import { bench } from "./bench.js";
import { BrowserError } from "./errors.js";
import { LiveCall } from "./live.js";
import { Loader } from "./loader.js";
import type { CallName, Calls, ToPage, ToWorker } from "./messages.js";
import { factsOf } from "./models.js";
import type { MessageEnd, Platform } from "./platform.js";
import { transcribe } from "./transcribe.js";
import { verifyAll } from "./verify.js";
import { toWire } from "./wire-errors.js";

/** A call that runs. */
interface Running {
  readonly abort: AbortController;
  live?: LiveCall;
}

/** What a call's body gets. */
interface Context<Name extends CallName> {
  readonly argument: Calls[Name]["argument"];
  readonly onEvent: (event: Calls[Name]["event"]) => void;
  readonly signal: AbortSignal;
  readonly running: Running;
}

type Bodies = { readonly [Name in CallName]: (context: Context<Name>) => Promise<Calls[Name]["result"]> };

/** The worker's side of SpeechWorker: one engine, whose calls run beside each other. */
class Host {
  readonly #loader: Loader;
  readonly #running = new Map<number, Running>();
  readonly #bodies: Bodies = {
    start: async ({ argument, onEvent, signal }) =>
      factsOf(await this.#loader.start(argument, { onProgress: onEvent, signal })),
    transcribe: ({ argument, onEvent, signal }) =>
      this.#loader.repeat(
        (models) => transcribe(models, argument, { onEvent, signal }),
        signal,
        (reason) => onEvent({ type: "repeated", reason }),
      ),
    live: (context) => this.#live(context),
    verify: async ({ argument, ...call }) =>
      verifyAll((await this.#loader.models(call.signal)).gpu, argument, call),
    bench: async ({ argument, ...call }) => {
      const { gpu, transcriber } = await this.#loader.models(call.signal);
      return bench({ gpu, model: transcriber?.model }, argument, call);
    },
    memory: async ({ signal }) => (await this.#loader.models(signal)).gpu.bytes,
    loseDevice: async ({ signal }) => {
      (await this.#loader.models(signal)).gpu.destroy();
      return undefined;
    },
    close: () => this.#close(),
  };

  constructor(
    private readonly end: MessageEnd,
    platform: Platform,
  ) {
    this.#loader = new Loader(platform, (reason) => this.#send({ type: "lost", reason }));
  }

  take(message: ToWorker): void {
    const running = this.#running.get(message.id);
    switch (message.call) {
      case "abort":
        running?.abort.abort();
        return;
      case "push":
        running?.live?.push(message.samples);
        return;
      case "finish":
        running?.live?.finish();
        return;
      default:
        void this.#run(message);
    }
  }

  async #run<Name extends CallName>({
    id,
    call,
    argument,
  }: {
    readonly id: number;
    readonly call: Name;
    readonly argument: Calls[Name]["argument"];
  }): Promise<void> {
    const running: Running = { abort: new AbortController() };
    this.#running.set(id, running);
    const { signal } = running.abort;
    const onEvent = (event: Calls[Name]["event"]): void => {
      if (!signal.aborted) this.#send({ id, type: "event", event });
    };
    try {
      const result = await this.#bodies[call]({ argument, onEvent, signal, running });
      this.#send({ id, type: "done", result });
    } catch (error) {
      this.#send({ id, type: "failed", error: toWire(error) });
    } finally {
      this.#running.delete(id);
    }
  }

  async #live({ argument, onEvent, signal, running }: Context<"live">): Promise<undefined> {
    const live = new LiveCall();
    running.live = live;
    await live.run(await this.#loader.models(signal), argument, { onEvent, signal });
    return undefined;
  }

  async #close(): Promise<undefined> {
    const reason = new BrowserError("worker", "the engine was closed");
    for (const { abort } of this.#running.values()) abort.abort(reason);
    await this.#loader.close();
    return undefined;
  }

  #send(message: ToPage): void {
    this.end.postMessage(message, []);
  }
}

/** Serves the page at the other end of a worker. */
export function serveEngine(end: MessageEnd, platform: Platform): void {
  const host = new Host(end, platform);
  end.addEventListener("message", ({ data }) => host.take(data as ToWorker));
  end.addEventListener("messageerror", () => {
    throw new Error("a message of the page cannot be read"); // the page gets it as the worker's "error"
  });
  end.postMessage({ type: "ready" } satisfies ToPage, []);
}
