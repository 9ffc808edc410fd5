import { stat } from "node:fs/promises";
import type { Utterance } from "../utterances.js";

/** A line of a corpus: an utterance, or a skipped file and line, or a note. */
export type Found =
  | { readonly utterance: Omit<Utterance, "line"> }
  | { readonly skipped: string; readonly why: string }
  | { readonly note: string };

export interface CorpusOptions {
  /** Part of the corpus, by its name there. Default: all parts. */
  readonly split?: string;
  /** The user's words before the audio. Default: the checkpoint's request to transcribe. */
  readonly prompt?: string;
  /**
   * CoVoST: Common Voice's directory of the language, with `clips`; STM: directory of the recordings.
   * Default: that of the TSV or STM.
   */
  readonly audio?: string;
  /** CoVoST: the text is the translation or the spoken sentence. Default: the translation. */
  readonly task?: "translate" | "transcribe";
}

/** A reader of one kind of corpus. */
export interface Corpus {
  /** The files at the path, for help and errors. */
  readonly layout: string;
  /** @throws DataError  a file of the corpus is missing or damaged */
  read(path: string, options: CorpusOptions): AsyncGenerator<Found, void, undefined>;
}

/** Advice where a corpus is not what its layout says. */
export const otherLayout = "name the corpus's own directory, or another layout: data --help lists them";

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

/** The reason why a path is not an audio file. */
export async function missing(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return "no such file";
  return found.isDirectory() ? "a directory, not a file" : "a device or a pipe, not a file";
}

/** An utterance, which is skipped without words or without its file. */
export async function utteranceOf(
  where: string,
  audio: string,
  text: string,
  {
    prompt,
    ...times
  }: Pick<Utterance, "start" | "end" | "channel"> & { readonly prompt?: string | undefined },
): Promise<Found> {
  if (text.trim() === "") return { skipped: where, why: "no text" };
  if (!(await isFile(audio))) return { skipped: where, why: `${await missing(audio)}: ${audio}` };
  return { utterance: { audio, ...times, ...(prompt === undefined ? {} : { prompt }), text: text.trim() } };
}

const eastAsian = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\u30fc";
const southEastAsian = "\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}";
/** The characters on both sides of spaces that are removed. */
const unspaced = new RegExp(`[${eastAsian}] | [${eastAsian}]|[${southEastAsian}] [${southEastAsian}]`, "u");

/**
 * Removes the spaces of word segmentation from scripts without spaces: beside Chinese and Japanese
 * characters, and between Thai, Lao, Khmer or Burmese characters. Other spaces stay.
 */
export function joinUnspaced(text: string): string {
  return text.replace(/\s+/gu, (spaces, at: number) => {
    const after = at + spaces.length;
    const beside = `${text.slice(Math.max(0, at - 2), at)} ${text.slice(after, after + 2)}`;
    return unspaced.test(beside) ? "" : spaces;
  });
}
