import { stat } from "node:fs/promises";
import type { Utterance } from "../utterances.js";

/** What a line of a corpus gives: an utterance, or why it gives none. */
export type Found =
  | { readonly utterance: Omit<Utterance, "line"> }
  /** Where: file and line, or a file alone. */
  | { readonly skipped: string; readonly why: string };

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
  if (!(await isFile(audio))) return { skipped: where, why: `no such file: ${audio}` };
  return { utterance: { audio, ...times, ...(prompt === undefined ? {} : { prompt }), text: text.trim() } };
}

/** Without the spaces that word segmentation put beside Chinese characters; those between other words stay. */
export function joinChinese(text: string): string {
  return text.replace(/(?<=\p{Script=Han})\s+|\s+(?=\p{Script=Han})/gu, "");
}
