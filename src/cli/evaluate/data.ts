import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { kaldi } from "../../data/corpora/kaldi.js";
import { DataError } from "../../data/errors.js";
import { type Utterance, readUtterances } from "../../data/utterances.js";
import { FunasrError } from "../../errors.js";

/** The utterances of a file or a directory. */
export interface ReadData {
  readonly utterances: readonly Utterance[];
  /** Lines without an utterance. */
  readonly bad: number;
}

/** Callbacks of a read. */
export interface Listener {
  /** Called for a line without an utterance, with its place as FILE:LINE. */
  readonly onBad: (error: FunasrError, place: string) => void;
  /** Called for data that are not used. */
  readonly onNote: (message: string) => void;
}

/**
 * Utterances of a JSONL file, or of wav.scp and text in one directory, named by itself or by its
 * wav.scp.
 * @param limit  utterances at most
 * @throws DataError  neither, or there is no utterance
 */
export async function readData(
  path: string,
  { onBad, onNote }: Listener,
  limit = Infinity,
): Promise<ReadData> {
  const directory = await kaldiDirectory(path);
  const utterances: Utterance[] = [];
  let bad = 0;
  const report: Listener["onBad"] = (error, place) => {
    bad++;
    onBad(error, place);
  };
  const listener = { onBad: report, onNote };
  const source = directory === undefined ? fromJsonl(path, listener) : fromKaldi(directory, listener);
  for await (const utterance of source) {
    utterances.push(utterance);
    if (utterances.length >= limit) break;
  }
  if (utterances.length === 0) {
    const got = bad === 0 ? "none" : `none: ${bad === 1 ? "1 line that is" : `${bad} lines that are`} none`;
    throw new DataError({ file: path, field: "content", expected: "an utterance or more", got });
  }
  return { utterances, bad };
}

async function kaldiDirectory(path: string): Promise<string | undefined> {
  if (basename(path) === "wav.scp") return dirname(path);
  if (!(await stat(path)).isDirectory()) return undefined;
  const found = await stat(join(path, "wav.scp")).catch(() => undefined);
  if (found) return path;
  throw new DataError({
    file: path,
    field: "directory",
    expected: "wav.scp and text in it",
    got: "no wav.scp",
    advice: "name a JSONL file, or make one with the command data",
  });
}

function fromJsonl(path: string, { onBad }: Listener): AsyncGenerator<Utterance> {
  return readUtterances(path, { onBad: ({ error }) => onBad(error, error.file) });
}

async function* fromKaldi(directory: string, { onBad, onNote }: Listener): AsyncGenerator<Utterance> {
  let line = 0;
  for await (const found of kaldi.read(directory, {})) {
    if ("utterance" in found) yield { ...found.utterance, line: ++line };
    else if ("note" in found) onNote(found.note);
    else onBad(new FunasrError(`${found.skipped}: ${found.why}`), found.skipped);
  }
}
