import type { TranscribeEvent, TranscribeRequest } from "funasr-webgpu/browser";
import { joinTexts } from "../../dist/scripts.js";
import { Cancelled, problemOf } from "./problems.js";
import { type Item, announce, changed, state, texts } from "./state.js";

/** Recordings that the page keeps. */
export const mostItems = 100;
let last = 0;

/** Whether one more recording fits; else the page says so. */
export function hasRoom(): boolean {
  if (state.items.length < mostItems) return true;
  showNotice({ say: (t) => t.full(mostItems), detail: undefined });
  return false;
}

/** Shows what the last choice, drop or press could not do. */
export function showNotice(problem: NonNullable<typeof state.notice>): void {
  state.notice = problem;
  announce(problem.say(texts()));
  changed();
}

/** Adds a recording. @param place  below so many others */
export function addItem(name: string, place = 0): Item {
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
    removed: false,
    stop: () => undefined,
    again: undefined,
  };
  state.items = state.items.toSpliced(place, 0, item);
  changed();
  return item;
}

/** Takes a recording off the page, and ends its work. */
export function removeItem(item: Item): void {
  item.removed = true;
  item.stop();
  if (item.audio !== undefined) URL.revokeObjectURL(item.audio);
  state.items = state.items.filter((other) => other !== item);
  changed();
}

/** Takes all recordings off the page. */
export function removeAll(): void {
  for (const item of state.items) removeItem(item);
}

/** Ends the work on a recording with its problem. */
export function fail(item: Item, error: unknown): void {
  if (item.phase === "done") return; // it was cancelled before its turn
  item.problem = problemOf(error, item.name);
  if (!(error instanceof Cancelled)) announce(item.problem.say(texts()));
  settle(item);
}

/** Ends the work on a recording. */
export function settle(item: Item): void {
  item.phase = "done";
  item.level = undefined;
  item.stable = item.tentative = "";
  changed();
}

/** What the options ask of the model. */
export function request(language = state.language): TranscribeRequest {
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

/** Shows what happens to a recording. */
export function take(item: Item, event: TranscribeEvent): void {
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
    clear(item);
    item.notes = [(t) => t.repeated];
  }
  changed();
}

/** Forgets the text of a recording, which is transcribed again. */
export function clear(item: Item): void {
  item.segments = [];
  item.stable = item.tentative = "";
  item.done = 0;
}
