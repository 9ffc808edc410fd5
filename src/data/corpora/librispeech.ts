import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { dataError } from "../errors.js";
import {
  type Corpus,
  type CorpusOptions,
  type Found,
  isDirectory,
  otherLayout,
  utteranceOf,
} from "./corpus.js";
import { namesBelow } from "../files-below.js";
import { readTable } from "./kaldi.js";

/** `[SPLIT/]SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt`: id and words; `ID.flac` beside it. */
async function* readLibrispeech(
  path: string,
  { split, prompt }: CorpusOptions,
): AsyncGenerator<Found, void, undefined> {
  const top = split === undefined ? path : join(path, split);
  const tables = (await isDirectory(top)) ? await namesBelow(top, ".trans.txt") : [];
  if (tables.length === 0)
    throw dataError(top, "directory", "chapters with *.trans.txt", "none", otherLayout);
  for (const name of tables) {
    const file = join(top, name);
    const folder = dirname(file);
    const transcripts = await readTable(file);
    for (const [id, { value, line }] of transcripts)
      yield await utteranceOf(`${file}:${line}`, join(folder, `${id}.flac`), value, { prompt });
    const clips = (await readdir(folder)).filter((clip) => clip.endsWith(".flac")).sort();
    for (const clip of clips)
      if (!transcripts.has(clip.slice(0, -5))) yield { skipped: join(folder, clip), why: `not in ${file}` };
  }
}

export const librispeech: Corpus = {
  layout: "LibriSpeech directory, or one of its splits; --split train-clean-100 …",
  read: readLibrispeech,
};
