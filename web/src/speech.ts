import { concatenated } from "../../dist/frontend/audio.js";
import { wavBytes } from "../../dist/frontend/write-wav.js";
import { engine, isReplaced, readMemory } from "./engine.js";
import { addItem, fail, hasRoom, request, settle, showNotice, take, textOf } from "./items.js";
import { type Microphone, levelOf, openMicrophone } from "./microphone.js";
import { Cancelled, Replaced, problemOf } from "./problems.js";
import { type Item, changed, state, texts } from "./state.js";

const rate = 16_000;
const keptSamples = 1800 * rate; // of a recording, to be played

/** What was said: all of it for the engine, its begin to be played. */
class Heard {
  readonly #pieces: Float32Array[] = [];
  readonly #early: Float32Array<ArrayBuffer>[] = [];
  #count = 0;
  #kept = 0;
  #push: ((samples: Float32Array<ArrayBuffer>) => void) | undefined;

  get seconds(): number {
    return this.#count / rate;
  }

  get isCut(): boolean {
    return this.#kept < this.#count;
  }

  add(samples: Float32Array<ArrayBuffer>): void {
    this.#count += samples.length;
    if (this.#count <= keptSamples) {
      this.#pieces.push(samples.slice());
      this.#kept = this.#count;
    }
    if (this.#push) this.#push(samples);
    else if (this.#count <= keptSamples) this.#early.push(samples);
  }

  /** Gives what came so far, and all that follows. */
  giveTo(push: (samples: Float32Array<ArrayBuffer>) => void): void {
    for (const samples of this.#early.splice(0)) push(samples);
    this.#push = push;
  }

  wav(): Blob {
    return new Blob([new Uint8Array(wavBytes(concatenated(this.#pieces), rate))], { type: "audio/wav" });
  }
}

let stopNow: (() => void) | undefined;

/** Ends the recording that runs. Text of what was said still comes. */
export function stopSpeaking(): void {
  stopNow?.();
}

/** Opens the microphone and shows what is said, until it is stopped. */
export async function speak(): Promise<void> {
  state.notice = undefined;
  if (state.speaking || !hasRoom()) return;
  const heard = new Heard();
  let stopThis: () => void = () => undefined;
  const stop = new Promise<void>((resolve) => (stopThis = resolve));
  stopNow = stopThis;
  state.speaking = true;
  changed();
  let item: Item | undefined;
  try {
    const microphone = await openMicrophone((samples) => {
      if (item?.level !== undefined) item.level = levelOf(samples);
      heard.add(samples);
      changed();
    });
    const control = new AbortController();
    const added = (item = addItem(`${texts().recording} ${new Date().toLocaleTimeString()}`));
    added.level = 0;
    added.stop = () => {
      // Once ends the recording, twice its text.
      if (added.removed || added.level === undefined) control.abort(new Cancelled());
      stopThis();
    };
    await transcribe({ item, heard, microphone, stop, signal: control.signal });
  } catch (error) {
    if (item) fail(item, error);
    else showNotice(problemOf(error));
  }
  if (stopNow === stopThis) state.speaking = false; // else another recording runs already
  if (item) keepAudio(item, heard);
  changed();
}

interface Session {
  readonly item: Item;
  readonly heard: Heard;
  readonly microphone: Microphone;
  readonly stop: Promise<void>;
  readonly signal: AbortSignal;
}

/** The live text of a microphone, until it is stopped and all has its text. */
async function transcribe({ item, heard, microphone, stop, signal }: Session): Promise<void> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  aborted.catch(() => undefined); // met by the races below
  const silent = stop.then(async () => {
    await microphone.stop();
    item.level = undefined;
    state.speaking = false;
    changed();
  });
  const opening = engine();
  try {
    const worker = await Promise.race([opening, aborted]);
    const live = worker.live({ ...request(), signal }, (event) => {
      if (event.type === "partial") take(item, event);
      if (event.type === "final" && event.segment.text !== "") take(item, { ...event, type: "segment" });
    });
    heard.giveTo((samples) => live.push(samples));
    item.phase = "working";
    changed();
    await Promise.race([silent, live.ended]);
    await live.finish();
    item.text = textOf(item);
    await readMemory(worker);
  } catch (error) {
    throw !signal.aborted && isReplaced(opening) ? new Replaced() : error;
  } finally {
    await microphone.stop();
  }
}

/** Keeps what was said, to be played. */
function keepAudio(item: Item, heard: Heard): void {
  item.seconds = item.done = heard.seconds;
  if (heard.isCut) item.notes = [...item.notes, (t) => t.keptPart(keptSamples / rate / 60)];
  if (!item.removed) item.audio = URL.createObjectURL(heard.wav());
  settle(item);
}
