import { type EngineFacts, type ModelChoice, SpeechWorker } from "funasr-webgpu/browser";
import { Replaced, problemOf } from "./problems.js";
import { announce, changed, state, texts } from "./state.js";

/** A file beside the page. */
export const beside = (path: string): string => new URL(path, document.baseURI).href;

const demo: ModelChoice = { url: beside("models/demo/") };
const vad: ModelChoice = { url: beside("models/vad/") };

function newWorker(): Worker {
  return new Worker(new URL("../../dist/browser/worker.js", import.meta.url), { type: "module" });
}

let opened: Promise<SpeechWorker> | undefined;
let starting = new AbortController();
const replaced = new WeakSet<Promise<SpeechWorker>>();

/** The engine that runs, or starts. @throws  why it did not start */
export function engine(): Promise<SpeechWorker> {
  return (opened ??= startEngine());
}

/** Whether another model took this engine's place. */
export function isReplaced(engine: Promise<SpeechWorker>): boolean {
  return replaced.has(engine);
}

/** Starts the engine with a checkpoint, in place of the one that runs. */
export function restart(choice: ModelChoice | undefined): void {
  const before = opened;
  if (before) replaced.add(before);
  starting.abort(new Replaced());
  void before?.then((worker) => worker.close()).catch(() => undefined);
  state.choice = choice;
  opened = startEngine();
  opened.catch(() => undefined); // the page shows why
}

async function startEngine(): Promise<SpeechWorker> {
  const control = (starting = new AbortController());
  const { signal } = control;
  const current = (): boolean => starting === control;
  state.engine = { phase: "starting", progress: undefined };
  state.memory = undefined;
  changed();
  try {
    const worker = await SpeechWorker.start(newWorker(), {
      model: state.choice ?? demo,
      vad,
      ...(state.weights !== "" && state.source !== "demo" && { weights: state.weights as "q8" }),
      signal,
      onProgress: (progress) => {
        if (!current()) return;
        state.engine = { phase: "starting", progress };
        changed();
      },
      onLost: () => announce(texts().repeated),
    });
    if (!current()) throw signal.reason;
    state.engine = { phase: "ready", facts: worker.facts };
    announce(texts().ready);
    await readMemory(worker);
    return worker;
  } catch (error) {
    if (current()) {
      state.engine = { phase: "failed", problem: problemOf(error) };
      opened = undefined;
      changed();
    }
    throw error;
  }
}

/** Reads what the engine holds on the GPU. */
export async function readMemory(worker: SpeechWorker): Promise<void> {
  state.memory = await worker.memory();
  changed();
}

/** Starts an engine of its own for a measurement. @param withModel  whether it takes the demo */
export function startApart(withModel: boolean, signal: AbortSignal): Promise<SpeechWorker> {
  return SpeechWorker.start(newWorker(), { signal, ...(withModel && { model: demo }) });
}

/** The adapter in words. */
export function adapterName({ adapter }: EngineFacts): string {
  const { description, vendor, architecture, device } = adapter;
  return description || [vendor, architecture, device].filter((part) => part !== "").join(" ") || "unnamed";
}
