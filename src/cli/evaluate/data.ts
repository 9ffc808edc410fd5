import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Found } from "../../data/corpora/corpus.js";
import { kaldi } from "../../data/corpora/kaldi.js";
import { stm } from "../../data/corpora/stm.js";
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

/** Whether a file is named as STM. */
export function isStm(path: string): boolean {
  return /\.stm$/iu.test(path);
}

/**
 * Utterances of a JSONL file, of an STM file, or of wav.scp and text in one directory, named by
 * itself or by its wav.scp.
 * @param limit  utterances at most
 * @param audio  directory of an STM's recordings; default: its own
 * @throws DataError  neither, or there is no utterance
 */
export async function readData(
  path: string,
  { onBad, onNote }: Listener,
  limit = Infinity,
  audio?: string,
): Promise<ReadData> {
  const directory = isStm(path) ? undefined : await kaldiDirectory(path);
  const utterances: Utterance[] = [];
  let bad = 0;
  const report: Listener["onBad"] = (error, place) => {
    bad++;
    onBad(error, place);
  };
  const listener = { onBad: report, onNote };
  const corpus = isStm(path)
    ? stm.read(path, { ...(audio !== undefined && { audio }) })
    : directory === undefined
      ? undefined
      : kaldi.read(directory, {});
  const source = corpus ? fromCorpus(corpus, listener) : fromJsonl(path, listener);
  for await (const utterance of source) {
    utterances.push(utterance);
    if (utterances.length >= limit) break;
  }
  if (utterances.length === 0) {
    const lines = bad === 1 ? "a wrong line" : `${bad} wrong lines`;
    const [got, advice] =
      bad === 0 ? ["none"] : [`none, and ${lines}`, "correct them; each has an error above"];
    throw new DataError({ file: path, field: "content", expected: "an utterance or more", got, advice });
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

async function* fromCorpus(
  corpus: AsyncIterable<Found>,
  { onBad, onNote }: Listener,
): AsyncGenerator<Utterance> {
  let line = 0;
  for await (const found of corpus) {
    if ("utterance" in found) yield { ...found.utterance, line: ++line };
    else if ("note" in found) onNote(found.note);
    else onBad(new FunasrError(`${found.skipped}: ${found.why}`), found.skipped);
  }
}
