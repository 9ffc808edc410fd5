import { BrowserError } from "funasr-webgpu/browser";
import { audioKind } from "./audio-kind.js";
import type { Texts } from "./texts.js";

/** A sentence in the language that the page has when it is drawn. */
export type Say = (texts: Texts) => string;

/** Why something failed: a sentence, and the engine's own line where it says more. */
export interface Problem {
  readonly say: Say;
  readonly detail: string | undefined;
  /** Whether the visitor wanted it so. */
  readonly isWanted?: boolean;
}

/** What the page itself refuses or ends. */
export class PageError extends Error {
  constructor(
    readonly say: Say,
    readonly detail?: string,
  ) {
    super(detail);
  }
}

/** The visitor ended it. */
export class Cancelled extends PageError {
  constructor() {
    super((t) => t.cancelled);
  }
}

/** Another model takes the engine's place. */
export class Replaced extends PageError {
  constructor() {
    super((t) => t.replaced);
  }
}

const modelErrors = ["CheckpointError", "ConfigError", "FrontendConfigError", "TokenizerError", "VadError"];
const fileErrors = ["NotReadableError", "NotFoundError", "NotAllowedError", "SecurityError"];

function sentence(error: unknown, line: string, file: string | undefined): Say {
  if (error instanceof BrowserError) return (t) => t.engine[error.code] ?? line;
  const name = error instanceof Error ? error.name : "";
  if (file !== undefined && name === "AudioError") return (t) => t.audio[audioKind(line)](file);
  if (file !== undefined && fileErrors.includes(name)) return (t) => t.audio.unreadable(file);
  if (modelErrors.includes(name)) return (t) => t.noModel;
  return (t) => (file === undefined ? t.broken : t.brokenFor(file));
}

/** An error in words. @param file  the recording that it is about */
export function problemOf(error: unknown, file?: string): Problem {
  if (error instanceof PageError)
    return { say: error.say, detail: error.detail, isWanted: error instanceof Cancelled };
  const line = error instanceof Error ? error.message : String(error);
  return { say: sentence(error, line, file), detail: line };
}
