import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Run, cli } from "./cli.js";
import { tinyFiles, writeDirectory } from "./tiny-model.js";
import { wav } from "./wav.js";

/** A directory of data, and a tiny model that `evaluate` runs over it. */
export interface Evaluations {
  /** Path of a file of the directory. */
  readonly at: (name: string) => string;
  /** Path of the model. */
  readonly model: string;
  readonly evaluate: (...args: string[]) => Promise<Run>;
  /** The objects of a JSONL file of the directory. */
  readonly rows: (name: string) => Record<string, unknown>[];
  readonly remove: () => void;
}

/** Lines of JSONL. */
export const lines = (...rows: readonly unknown[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** The directory has a.wav of 0.4 s, b.wav of 0.9 s, broken.wav and these files. */
export async function evaluations(files: Readonly<Record<string, string>>): Promise<Evaluations> {
  const tiny = writeDirectory(await tinyFiles({ seed: 5 }));
  const work = writeDirectory(
    new Map<string, string | Uint8Array>([
      ["a.wav", wav(0.4, 1)],
      ["b.wav", wav(0.9, 2)],
      ["broken.wav", "this is no audio"],
      ...Object.entries(files),
    ]),
  );
  const at = (name: string): string => join(work.path, name);
  return {
    at,
    model: tiny.path,
    evaluate: (...args) =>
      cli(["evaluate", "--model", tiny.path, "--max-tokens", "6", "--second", "0", ...args]),
    rows: (name) =>
      readFileSync(at(name), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    remove: () => {
      tiny.remove();
      work.remove();
    },
  };
}
