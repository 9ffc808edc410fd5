// Plan: SpeechWorker speaks to a worker that this test plays. However a call ends, by its signal, by an answer,
// by a value that cannot be sent, or with the worker, it settles with a named error, is forgotten, and later
// calls do what they should; a worker that failed or does not answer is ended.
import { afterEach, describe, expect, it, vi } from "vitest";
import { type LiveSpeech, SpeechWorker } from "./client.js";
import { serveEngine } from "./host.js";
import type { ToPage, ToWorker } from "./messages.js";
import type { PageWorker, PortEvent } from "./platform.js";

afterEach(() => void vi.useRealTimers());

/** A worker whose answers the test gives. */
class Played implements PageWorker {
  readonly sent: ToWorker[] = [];
  terminated = 0;
  readonly #listeners = new Map<string, ((event: PortEvent) => void)[]>();

  postMessage(message: unknown, transfer: ArrayBuffer[]): void {
    this.sent.push(structuredClone(message, { transfer }) as ToWorker);
  }

  addEventListener(type: string, listener: (event: PortEvent) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  terminate(): void {
    this.terminated++;
  }

  emit(type: string, event: Omit<PortEvent, "preventDefault"> = {}): void {
    for (const listener of this.#listeners.get(type) ?? [])
      listener({ ...event, preventDefault: () => undefined });
  }

  answer(message: ToPage): void {
    this.emit("message", { data: message });
  }

  /** Messages by name. */
  get names(): readonly string[] {
    return this.sent.map(({ call }) => call);
  }
}

async function started(): Promise<{ worker: Played; speech: SpeechWorker }> {
  const worker = new Played();
  const start = SpeechWorker.start(worker);
  worker.answer({ id: worker.sent[0].id, type: "done", result: { hasVad: true } });
  return { worker, speech: await start };
}

const calls: Readonly<Record<string, (speech: SpeechWorker, signal?: AbortSignal) => Promise<unknown>>> = {
  transcribe: (speech, signal) => speech.transcribe(new Float32Array(1), { signal }),
  live: (speech, signal) => speech.live({ signal }, () => undefined).ended,
  finish: (speech, signal) => speech.live({ signal }, () => undefined).finish(),
  verify: (speech, signal) => speech.verify([], undefined, { signal }),
  bench: (speech, signal) => speech.bench([], undefined, { signal }),
  memory: (speech, signal) => speech.memory({ signal }),
};
const ends: readonly [
  string,
  (played: { worker: Played; speech: SpeechWorker }) => unknown,
  string,
  number,
][] = [
  ["an error of the worker", ({ worker }) => worker.emit("error", { message: "boom" }), "failed: boom", 1],
  ["a script that cannot be loaded", ({ worker }) => worker.emit("error"), "cannot be loaded", 1],
  ["a message that cannot be read", ({ worker }) => worker.emit("messageerror"), "cannot be read", 1],
  ["close, answered", close, "the engine was closed", 1],
  ["close, without an answer", closeUnanswered, "the engine was closed", 1],
];

async function close({ worker, speech }: { worker: Played; speech: SpeechWorker }): Promise<void> {
  const closed = speech.close();
  worker.answer({ id: worker.sent.at(-1)!.id, type: "done", result: undefined });
  await closed;
}

async function closeUnanswered({ speech }: { speech: SpeechWorker }): Promise<void> {
  vi.useFakeTimers();
  const closed = speech.close();
  await vi.advanceTimersByTimeAsync(10_000);
  await closed;
}

describe.each(Object.entries(calls))("%s", (_, call) => {
  it.each(ends)("ends with %s, and so do later calls", async (_, end, message, terminated) => {
    const played = await started();
    const running = call(played.speech).catch((error: unknown) => error);
    await end(played);
    const error = await running;
    expect(error).toMatchObject({ name: "BrowserError", code: "worker" });
    expect((error as Error).message).toContain(message);
    expect(played.worker.terminated).toBe(terminated);
    const sent = played.worker.sent.length;
    await expect(call(played.speech)).rejects.toBe(error);
    expect(played.worker.sent.slice(sent).every((one) => one.call === "finish")).toBe(true);
    await played.speech.close();
  });

  it("ends with its signal; what the worker says of it later is ignored", async () => {
    const { worker, speech } = await started();
    const abort = new AbortController();
    const reason = new Error("the user left");
    const running = call(speech, abort.signal);
    const { id } = worker.sent[1];
    abort.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(worker.sent.at(-1)).toEqual({ id, call: "abort" });
    worker.answer({ id, type: "event", event: {} });
    worker.answer({ id, type: "failed", error: { name: "AbortError", message: "late" } });
    const sent = worker.sent.length;
    await expect(call(speech, abort.signal)).rejects.toBe(reason);
    expect(worker.names.slice(sent).filter((name) => name !== "finish")).toEqual([]);
  });

  it("passes the worker's error on, after which its signal does nothing", async () => {
    const { worker, speech } = await started();
    const abort = new AbortController();
    const running = call(speech, abort.signal);
    const { id } = worker.sent[1];
    worker.answer({ id, type: "failed", error: { name: "AudioError", message: "no audio" } });
    await expect(running).rejects.toMatchObject({ name: "AudioError", message: "no audio" });
    const sent = worker.sent.length;
    abort.abort();
    expect(worker.sent.length).toBe(sent);
  });
});

describe("a value that cannot be sent", () => {
  it.each([
    ["transcribe", (speech) => speech.transcribe((() => 0) as unknown as Blob)],
    ["live", (speech) => speech.live({ language: (() => 0) as never }, () => undefined).ended],
    ["verify", (speech) => speech.verify([{ file: (() => 0) as never }])],
    ["bench", (speech) => speech.bench([(() => 0) as never])],
  ] satisfies [string, (speech: SpeechWorker) => Promise<unknown>][])(
    "rejects %s alone, and its signal does nothing",
    async (_, call) => {
      const { worker, speech } = await started();
      await expect(call(speech)).rejects.toMatchObject({ name: "DataCloneError" });
      expect(worker.names).toEqual(["start"]);
      const next = speech.memory();
      worker.answer({ id: worker.sent[1].id, type: "done", result: "the memory" });
      expect(await next).toBe("the memory");
    },
  );

  it("rejects a start, and ends the worker", async () => {
    const worker = new Played();
    const start = SpeechWorker.start(worker, { model: { directory: (() => 0) as never } });
    await expect(start).rejects.toMatchObject({ name: "DataCloneError" });
    expect(worker.terminated).toBe(1);
  });
});

describe("a start", () => {
  const blobs = [new File(["a"], "a"), new File(["b"], "b")];
  it.each<[string, Iterable<File>]>([
    ["an array", blobs],
    ["a list, as of an input", { [Symbol.iterator]: () => blobs.values() }],
  ])("takes files in %s", (_, files) => {
    const worker = new Played();
    void SpeechWorker.start(worker, { model: { files }, vad: { files } });
    const { argument } = worker.sent[0] as { argument?: unknown };
    const sent = { files: [expect.any(Blob), expect.any(Blob)] };
    expect(argument).toMatchObject({ model: sent, vad: sent });
  });

  it.each([
    [
      "fails",
      (worker) => worker.answer({ id: 1, type: "failed", error: { name: "GpuError", message: "x" } }),
    ],
    ["meets an error of the worker", (worker) => worker.emit("error", { message: "boom" })],
    ["is aborted", (_, abort) => abort.abort()],
  ] satisfies [string, (worker: Played, abort: AbortController) => void][])(
    "that %s ends the worker",
    async (_, end) => {
      const worker = new Played();
      const abort = new AbortController();
      const start = SpeechWorker.start(worker, { signal: abort.signal });
      end(worker, abort);
      await expect(start).rejects.toThrow();
      expect(worker.terminated).toBeGreaterThan(0);
    },
  );
});

describe("live speech", () => {
  const pushed = (worker: Played): (readonly [number, number])[] =>
    worker.sent.flatMap((one) => (one.call === "push" ? [[one.id, one.samples.length] as const] : []));

  it("that never began sends no samples to another call", async () => {
    const { worker, speech } = await started();
    const dead = speech.live({ signal: AbortSignal.abort() }, () => undefined);
    const living = speech.live({}, () => undefined);
    const { id } = worker.sent.at(-1)!;
    dead.push(new Float32Array(5));
    living.push(new Float32Array(7));
    expect(pushed(worker).filter((one) => one[0] === id)).toEqual([[id, 7]]);
    await expect(dead.finish()).rejects.toMatchObject({ name: "AbortError" });
    expect(worker.sent.filter((one) => one.call === "finish" && one.id === id)).toEqual([]);
  });

  it("takes parts of one buffer, which stays the page's", async () => {
    const { worker, speech } = await started();
    const session: LiveSpeech = speech.live({}, () => undefined);
    const all = new Float32Array(10);
    session.push(all.subarray(0, 4));
    session.push(all.subarray(4));
    session.push(all);
    expect(pushed(worker).map(([, length]) => length)).toEqual([4, 6, 10]);
    expect(all.length).toBe(0);
  });
});

it("a worker reports a message that it cannot read as an error of its own", () => {
  const worker = new Played();
  serveEngine(worker, {});
  expect(() => worker.emit("messageerror")).toThrow("a message of the page cannot be read");
});
