import { join, parse } from "node:path";
import { dataError } from "../errors.js";
import {
  type Corpus,
  type CorpusOptions,
  type Found,
  isDirectory,
  otherLayout,
  joinUnspaced,
  utteranceOf,
} from "./corpus.js";
import { namesBelow } from "../files-below.js";
import { readTable } from "./kaldi.js";

/** `wav/SPLIT/SPEAKER/ID.wav`; `transcript/aishell_transcript_v0.8.txt`: id and words. */
async function* readAishell1(
  path: string,
  { split, prompt }: CorpusOptions,
): AsyncGenerator<Found, void, undefined> {
  const file = join(path, "transcript", "aishell_transcript_v0.8.txt");
  const transcripts = await readTable(file);
  const top = split === undefined ? join(path, "wav") : join(path, "wav", split);
  if (!(await isDirectory(top)))
    throw dataError(top, "directory", "speakers with their clips", "none", otherLayout);
  const ids = new Set<string>();
  for (const name of await namesBelow(top, ".wav")) {
    const id = parse(name).name;
    ids.add(id);
    const found = transcripts.get(id);
    const clip = join(top, name);
    if (!found) yield { skipped: clip, why: `no ${id} in ${file}` };
    else yield await utteranceOf(`${file}:${found.line}`, clip, joinUnspaced(found.value), { prompt });
  }
  if (split !== undefined) return; // the table has all splits
  for (const [id, { line }] of transcripts)
    if (!ids.has(id)) yield { skipped: `${file}:${line}`, why: `no ${id}.wav below ${top}` };
}

export const aishell1: Corpus = {
  layout: "AISHELL-1 directory (data_aishell) with wav and transcript; --split train, dev or test",
  read: readAishell1,
};
