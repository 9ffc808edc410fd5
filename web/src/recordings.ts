import { beside, engine, isReplaced, readMemory } from "./engine.js";
import { type Dropped, droppedFiles, mostEntries } from "./dropped.js";
import { addItem, clear, fail, hasRoom, mostItems, request, settle, showNotice, take } from "./items.js";
import { Cancelled, type Say, problemOf } from "./problems.js";
import { type Example, type Item, announce, changed, state, texts } from "./state.js";

let queue: Promise<void> = Promise.resolve();

/** Transcribes files, one after another; says which do not fit on the page. */
export function addFiles(files: readonly File[]): void {
  addAll({ files, others: 0, isCut: false });
}

function addAll({ files, others, isCut }: Dropped): void {
  state.notice = undefined;
  const fit = files.slice(0, mostItems - state.items.length);
  for (const [place, file] of fit.entries()) addFile(file, { place });
  const left = files.slice(fit.length).map(({ name }) => name);
  if (left.length > 0) showNotice({ say: (t) => t.leftOut(left, mostItems), detail: undefined });
  else if (isCut) showNotice({ say: (t) => t.cutFolder(mostEntries), detail: undefined });
  else if (others > 0) showNotice({ say: (t) => t.noAudio(others), detail: undefined });
  changed();
}

/** Transcribes what was dropped. */
export async function addDropped(transfer: DataTransfer | null): Promise<void> {
  if (!transfer) return;
  try {
    const dropped = await droppedFiles(transfer);
    if (dropped.files.length > 0 || dropped.others > 0) addAll(dropped);
  } catch (error) {
    showNotice(problemOf(error));
  }
}

function addFile(file: File, { place = 0, language }: { place?: number; language?: string } = {}): void {
  const item = addItem(file.name, place);
  item.audio = URL.createObjectURL(file);
  begin(item, file, language);
}

/** Puts a recording at the end of those that wait. */
function begin(item: Item, file: File, language?: string): void {
  const control = new AbortController();
  item.stop = () => {
    const reason = new Cancelled();
    control.abort(reason);
    fail(item, reason); // at once: its turn may be far away
  };
  item.again = () => {
    clear(item);
    item.phase = "waiting";
    item.problem = undefined;
    item.notes = [];
    begin(item, file, language);
    changed();
  };
  queue = queue.then(() => transcribe(item, file, control.signal, language));
}

async function transcribe(item: Item, file: File, signal: AbortSignal, language?: string): Promise<void> {
  while (!signal.aborted) {
    const opening = engine();
    try {
      await transcribeBy(await untilAborted(opening, signal), { item, file, signal, language });
      return;
    } catch (error) {
      if (signal.aborted || !isReplaced(opening)) {
        fail(item, error);
        return;
      }
      clear(item); // the new model transcribes it
    }
  }
}

interface Work {
  readonly item: Item;
  readonly file: File;
  readonly signal: AbortSignal;
  readonly language: string | undefined;
}

async function transcribeBy(
  worker: Awaited<ReturnType<typeof engine>>,
  { item, file, signal, language }: Work,
): Promise<void> {
  item.phase = "working";
  changed();
  const result = await worker.transcribe(file, { ...request(language), signal }, (event) =>
    take(item, event),
  );
  item.text = result.text;
  item.segments = [...result.segments];
  item.seconds = item.done = result.seconds;
  item.workSeconds = result.workSeconds;
  item.notes = [
    ...item.notes,
    ...result.warnings.map(
      (line): Say =>
        (t) =>
          t.warning(line),
    ),
  ];
  settle(item);
  if (result.segments.length === 0) announce(texts().nothing);
  await readMemory(worker).catch(() => undefined); // the text is there
}

/** A promise's value, unless the signal comes first. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    promise.then(resolve, reject);
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
  state.notice = undefined;
  if (!hasRoom()) return;
  try {
    const answer = await fetch(beside(`models/demo/clips/${audio}`));
    if (!answer.ok) throw new Error(`${audio}: the server answers with status ${answer.status}`);
    const clip = new File([await answer.blob()], audio);
    addFile(clip, { language: state.language === "" ? language : state.language });
  } catch (error) {
    const { message } = error as Error;
    showNotice({ say: (t) => t.noExample(audio), detail: message });
  }
}
