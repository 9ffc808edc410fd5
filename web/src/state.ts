import type { EngineFacts, EngineMemory, ModelChoice, StartProgress } from "funasr-webgpu/browser";
import type { BenchRow, VerifyRow } from "funasr-webgpu/browser";
import type { TranscriptSegment } from "../../dist/decode/segments/recording.js";
import type { Problem, Say } from "./problems.js";
import { type PageLanguage, type Texts, languages } from "./texts.js";

/** The parts of the page. */
export type View = "transcribe" | "verify" | "speed";

/** Where the engine stands. */
export type EngineState =
  | { readonly phase: "starting"; readonly progress: StartProgress | undefined }
  | { readonly phase: "ready"; readonly facts: EngineFacts }
  | { readonly phase: "failed"; readonly problem: Problem };

/** A recording with its text so far. */
export interface Item {
  readonly id: number;
  readonly name: string;
  /** Of the microphone: its level from 0 to 1 while it is on. */
  level: number | undefined;
  phase: "waiting" | "working" | "done";
  segments: TranscriptSegment[];
  stable: string;
  tentative: string;
  /** The whole text, once it is done. */
  text: string | undefined;
  /** Seconds that are done, of the audio, and of work. */
  done: number;
  seconds: number | undefined;
  workSeconds: number | undefined;
  notes: readonly Say[];
  problem: Problem | undefined;
  audio: string | undefined;
  playable: boolean;
  /** What was copied or not: shown for a moment. */
  copied: string | undefined;
  /** Whether it was taken off the page. */
  removed: boolean;
  /** Ends its work; a microphone's recording first ends, and its text by a second call. */
  stop: () => void;
  /** Transcribes it anew, where its file is at hand. */
  again: (() => void) | undefined;
}

/** A table that fills row by row. */
export interface Run<Row> {
  phase: "idle" | "running" | "done";
  /** Whether it ran to its end. */
  isWhole: boolean;
  rows: readonly Row[];
  total: number | undefined;
  facts: EngineFacts | undefined;
  problem: Problem | undefined;
  copied: string | undefined;
  stop: (() => void) | undefined;
}

function idle<Row>(): Run<Row> {
  return {
    phase: "idle",
    isWhole: false,
    rows: [],
    total: undefined,
    facts: undefined,
    problem: undefined,
    copied: undefined,
    stop: undefined,
  };
}

/** A clip of the demo. */
export interface Example {
  readonly audio: string;
  readonly text: string;
  readonly language: string;
}

/** Where the model comes from, as picked. */
export type Source = "demo" | "hub" | "folder";

/** The language that the browser prefers. */
function preferredLanguage(): PageLanguage {
  return /^zh\b/i.test(navigator.language) ? "zh" : "en";
}

/** All that the page shows. */
export const state = {
  page: preferredLanguage(),
  view: "transcribe" as View,
  engine: { phase: "starting", progress: undefined } as EngineState,
  memory: undefined as EngineMemory | undefined,
  /** Whether another model is being picked. */
  choosing: false,
  source: "demo" as Source,
  choice: undefined as ModelChoice | undefined,
  hubName: "FunAudioLLM/Fun-ASR-Nano-2512-hf",
  weights: "",
  language: "",
  hotwords: "",
  to: "",
  dragging: false,
  examples: [] as readonly Example[],
  items: [] as Item[],
  /** What the last choice, drop or press could not do. */
  notice: undefined as Problem | undefined,
  speaking: false,
  verify: idle<VerifyRow>(),
  speed: idle<BenchRow>(),
};

/** The texts of the page's language. */
export function texts(): Texts {
  return languages[state.page];
}

let draw: () => void = () => undefined;
let due = false;

/** Names what draws the page. */
export function drawWith(body: () => void): void {
  draw = body;
}

/** Draws the page soon, once for all changes until then. */
export function changed(): void {
  if (due) return;
  due = true;
  setTimeout(() => {
    due = false;
    draw();
  }, 16);
}

/** Reads a text aloud by a screen reader. */
export function announce(text: string): void {
  const live = document.getElementById("live")!;
  live.textContent = text;
}
