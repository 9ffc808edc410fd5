import { undoInterrupted } from "../node/unfinished.js";
import { note, restoreTerminal } from "./output.js";

/** Exit codes of a run that a signal ended: 128 and the signal's number. */
const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** What a signal prints that stops a training. */
const saving = "stopping after this step to save the state; the same signal again ends the run at once";

let gentle: AbortController | undefined;
let gentleWords = saving;
let lastWords: (() => string | undefined) | undefined;
let serving: ((signal: keyof typeof codes) => void) | undefined;
let stopped: keyof typeof codes | undefined;

/**
 * From here on a signal ends the run with its exit code; unfinished outputs and locks are removed
 * and the terminal is restored.
 */
export function handleSignals(): void {
  process.on("exit", restoreTerminal);
  for (const signal of Object.keys(codes) as (keyof typeof codes)[]) {
    process.on(signal, () => {
      if (serving) {
        serving(signal);
        serving = undefined;
        return;
      }
      if (gentle && !gentle.signal.aborted) {
        stopped = signal;
        process.exitCode = codes[signal];
        note(gentleWords);
        gentle.abort();
        return;
      }
      const words = lastWords?.();
      if (words !== undefined) note(words);
      undoInterrupted();
      process.exit(codes[signal]);
    });
  }
}

/** Sets what gives the note that a signal prints if it ends the run before `stoppable`. */
export function sayIfStopped(text: () => string | undefined): void {
  lastWords = text;
}

/**
 * Resolves at the first signal, which prints `text` and ends nothing; a second one ends the process.
 * @returns  the exit code of a run that ends in order after it: SIGTERM asks for that end, the
 *           others interrupt
 */
export async function firstSignal(text: string): Promise<number> {
  const signal = await new Promise<keyof typeof codes>((resolve) => (serving = resolve));
  note(text);
  return signal === "SIGTERM" ? 0 : codes[signal];
}

/**
 * Runs a body that can stop in order: the first signal prints `words` and aborts its AbortSignal, a
 * second one ends the process.
 * @returns the body's result, and whether a signal came
 */
export async function stoppable<T>(
  body: (signal: AbortSignal) => Promise<T>,
  words = saving,
): Promise<{ result: T; stopped: boolean }> {
  const controller = new AbortController();
  gentle = controller;
  gentleWords = words;
  lastWords = undefined;
  try {
    return { result: await body(controller.signal), stopped: controller.signal.aborted };
  } finally {
    gentle = undefined;
    if (stopped) process.exitCode = codes[stopped];
  }
}
