import { stat } from "node:fs/promises";
import type { Utterance } from "../utterances.js";

/** What a line of a corpus gives: an utterance, or why it gives none. */
export type Found =
  | { readonly utterance: Omit<Utterance, "line"> }
  /** Where: file and line, or a file alone. */
  | { readonly skipped: string; readonly why: string }
  /** One line about the whole corpus: what it holds that is not used. */
  | { readonly note: string };

export interface CorpusOptions {
  /** Part of the corpus, as its own files call it. Default: all of it. */
  readonly split?: string;
  /** The user's words before the audio, of every utterance. Default: the checkpoint's request to transcribe. */
  readonly prompt?: string;
  /** CoVoST: the directory of Common Voice's language, with `clips`. Default: the directory of the TSV. */
  readonly audio?: string;
  /** CoVoST: the translation, or the sentence that is spoken. Default: the translation. */
  readonly task?: "translate" | "transcribe";
}

/** A layout that people have on disk. */
export interface Corpus {
  /** What must be at the path, for help and errors. */
  readonly layout: string;
  /** Reads it as it goes. @throws DataError  a file of the corpus is missing or damaged */
  read(path: string, options: CorpusOptions): AsyncGenerator<Found, void, undefined>;
}

export async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (s) => s.isFile(),
    () => false,
  );
}

export async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );
}

/** Why a path is no audio file. */
export async function missing(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return "no such file";
  return found.isDirectory() ? "a directory, not a file" : "a device or a pipe, not a file";
}

/** What is the same of every corpus: an utterance without words, or without its file, is passed over. */
export async function utteranceOf(
  where: string,
  audio: string,
  text: string,
  rest: {
    readonly start?: number;
    readonly end?: number;
    readonly channel?: number;
    readonly prompt?: string | undefined;
  },
): Promise<Found> {
  const { prompt, ...times } = rest;
  if (text.trim() === "") return { skipped: where, why: "no text" };
  if (!(await isFile(audio))) return { skipped: where, why: `${await missing(audio)}: ${audio}` };
  return { utterance: { audio, ...times, ...(prompt === undefined ? {} : { prompt }), text: text.trim() } };
}

const eastAsian = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\u30fc";
const southEastAsian = "\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}";
/** What stands beside spaces, with one space between, where they are left out. */
const unspaced = new RegExp(`[${eastAsian}] | [${eastAsian}]|[${southEastAsian}] [${southEastAsian}]`, "u");

/**
 * Without the spaces that word segmentation put into scripts that have none: beside Chinese and Japanese characters, and between
 * Thai, Lao, Khmer or Burmese ones, which keep those beside other scripts and digits. Spaces between other words stay.
 */
export function joinUnspaced(text: string): string {
  return text.replace(/\s+/gu, (spaces, at: number) => {
    const after = at + spaces.length;
    const beside = `${text.slice(Math.max(0, at - 2), at)} ${text.slice(after, after + 2)}`;
    return unspaced.test(beside) ? "" : spaces;
  });
}
