import type { TranscribeEvent, TranscribeRequest } from "funasr-webgpu/browser";
import { concatenated } from "../../dist/frontend/audio.js";
import { wavBytes } from "../../dist/frontend/write-wav.js";
import { joinTexts } from "../../dist/scripts.js";
import { beside, engine, lineOf, readMemory } from "./engine.js";
import { MicrophoneError, levelOf, openMicrophone } from "./microphone.js";
import { type Example, type Item, announce, changed, state, texts } from "./state.js";

const mostItems = 30; // recordings that the page keeps
const rate = 16_000;
const keptSeconds = 1800; // of a microphone's recording, to be played
let last = 0;

function addItem(name: string, stop: () => void): Item {
  const item: Item = {
    id: ++last,
    name,
    level: undefined,
    phase: "waiting",
    segments: [],
    stable: "",
    tentative: "",
    text: undefined,
    done: 0,
    seconds: undefined,
    workSeconds: undefined,
    notes: [],
    problem: undefined,
    audio: undefined,
    playable: true,
    copied: undefined,
    stop,
  };
  state.items = [item, ...state.items];
  for (const old of state.items.slice(mostItems)) removeItem(old);
  changed();
  return item;
}

/** Takes a recording off the page. */
export function removeItem(item: Item): void {
  item.stop();
  if (item.audio !== undefined) URL.revokeObjectURL(item.audio);
  state.items = state.items.filter((other) => other !== item);
  changed();
}

/** What the options ask of the model. */
function request(language = state.language): TranscribeRequest {
  const hotwords = state.hotwords
    .split(/[,，、;；]/)
    .map((word) => word.trim())
    .filter((word) => word !== "");
  const facts = state.engine.phase === "ready" ? state.engine.facts.model : undefined;
  if (state.to !== "" && facts?.canTranslate) return { to: state.to as "en" };
  return { ...(language !== "" && { language }), ...(hotwords.length > 0 && { hotwords }) };
}

/** The text of a recording so far. */
export function textOf({ text, segments }: Item): string {
  return text ?? joinTexts(segments.map((segment) => segment.text));
}

function take(item: Item, event: TranscribeEvent): void {
  if (event.type === "partial") {
    item.stable = event.stable;
    item.tentative = event.tentative;
  } else if (event.type === "segment") {
    item.segments = [...item.segments, event.segment];
    item.stable = item.tentative = "";
    announce(event.segment.text);
  } else if (event.type === "progress") {
    item.done = event.seconds;
    item.seconds = event.total;
  } else {
    item.segments = [];
    item.stable = item.tentative = "";
    item.notes = [texts().repeated];
  }
  changed();
}

let queue: Promise<void> = Promise.resolve();

/** Transcribes files, one after another. */
export function addFiles(files: Iterable<File>): void {
  for (const file of files) addFile(file);
}

function addFile(file: File, language?: string): void {
  const control = new AbortController();
  const item = addItem(file.name, () => control.abort(new Error(texts().cancelled)));
  item.audio = URL.createObjectURL(file);
  queue = queue.then(() => transcribe(item, file, control.signal, language));
}

async function transcribe(item: Item, file: File, signal: AbortSignal, language?: string): Promise<void> {
  try {
    signal.throwIfAborted();
    const worker = await Promise.race([engine(), aborted(signal)]);
    item.phase = "working";
    changed();
    const result = await worker.transcribe(file, { ...request(language), signal }, (event) =>
      take(item, event),
    );
    item.text = result.text;
    item.segments = [...result.segments];
    item.seconds = item.done = result.seconds;
    item.workSeconds = result.workSeconds;
    item.notes = result.warnings;
    if (result.segments.length === 0) announce(texts().nothing);
    await readMemory(worker);
  } catch (error) {
    item.problem = lineOf(error);
    announce(item.problem);
  }
  settle(item);
}

function settle(item: Item): void {
  item.phase = "done";
  item.level = undefined;
  item.stable = item.tentative = "";
  changed();
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}

/** Reads the list of the demo's clips. */
export async function loadExamples(): Promise<void> {
  const answer = await fetch(beside("models/demo/clips/clips.jsonl"));
  if (!answer.ok) return;
  const lines = (await answer.text()).split("\n").filter((line) => line !== "");
  state.examples = lines.map((line) => JSON.parse(line) as Example);
  changed();
}

/** Transcribes a clip of the demo, in its language unless another is set. */
export async function addExample({ audio, language }: Example): Promise<void> {
  const answer = await fetch(beside(`models/demo/clips/${audio}`));
  addFile(new File([await answer.blob()], audio), state.language === "" ? language : state.language);
}

/** Opens the microphone and shows what is said, until it is stopped. */
export async function speak(): Promise<void> {
  state.microphone = undefined;
  state.speaking = true;
  changed();
  const control = new AbortController();
  let stopped: () => void = () => undefined;
  const stop = new Promise<void>((resolve) => (stopped = resolve));
  const pieces: Float32Array[] = [];
  let item: Item | undefined;
  try {
    const early: Float32Array<ArrayBuffer>[] = [];
    let push = (samples: Float32Array<ArrayBuffer>): void => void early.push(samples);
    const microphone = await openMicrophone((samples) => {
      if (item) item.level = levelOf(samples);
      if (pieces.length < keptSeconds * 25) pieces.push(samples.slice());
      push(samples);
      changed();
    });
    const spoken = (item = addItem(`${texts().recording} ${new Date().toLocaleTimeString()}`, stopped));
    spoken.level = 0;
    try {
      const worker = await Promise.race([
        engine(),
        stop.then(() => Promise.reject(new Error(texts().cancelled))),
      ]);
      const live = worker.live({ ...request(), signal: control.signal }, (event) => {
        if (event.type === "partial") take(spoken, event);
        if (event.type === "final" && event.segment.text !== "") take(spoken, { ...event, type: "segment" });
      });
      for (const samples of early.splice(0)) live.push(samples);
      push = (samples) => live.push(samples);
      spoken.phase = "working";
      changed();
      await Promise.race([stop, live.ended]);
      await microphone.stop();
      spoken.level = undefined;
      state.speaking = false;
      changed();
      await live.finish();
      await readMemory(worker);
    } finally {
      await microphone.stop();
    }
    spoken.text = textOf(spoken);
  } catch (error) {
    const problem = error instanceof MicrophoneError ? texts().microphone[error.problem] : lineOf(error);
    if (item) item.problem = problem;
    else state.microphone = problem;
    announce(problem);
  }
  state.speaking = false;
  if (item) keepAudio(item, pieces);
  changed();
}

function keepAudio(item: Item, pieces: readonly Float32Array[]): void {
  const samples = concatenated(pieces);
  item.seconds = item.done = samples.length / rate;
  item.audio = URL.createObjectURL(
    new Blob([new Uint8Array(wavBytes(samples, rate))], { type: "audio/wav" }),
  );
  settle(item);
}
