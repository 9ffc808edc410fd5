import { isAbsolute, join } from "node:path";
import { DataError } from "../errors.js";
import { readLines, sound } from "../lines.js";
import { type Corpus, type CorpusOptions, type Found, isFile, joinChinese, utteranceOf } from "./corpus.js";

/** A table of Kaldi: id, white space, the rest of the line. */
export async function readTable(file: string): Promise<Map<string, { value: string; line: number }>> {
  if (!(await isFile(file)))
    throw new DataError({ file, field: "file", expected: "a table of that name", got: "none" });
  const table = new Map<string, { value: string; line: number }>();
  for await (const read of readLines(file)) {
    const text = sound(read, file).trim();
    if (text === "") continue;
    const [, id, value] = /^(\S+)\s*(.*)$/u.exec(text)!;
    const at = `${file}:${read.line}`;
    if (table.has(id)) throw new DataError({ file: at, field: "id", expected: "one used once", got: id });
    table.set(id, { value, line: read.line });
  }
  return table;
}

/** `wav.scp` and the texts by id; with `segments`, parts of its recordings. Paths are relative to the directory. */
async function* readKaldi(
  path: string,
  texts: string,
  { prompt }: CorpusOptions,
): AsyncGenerator<Found, void, undefined> {
  const [wavs, text] = [join(path, "wav.scp"), join(path, texts)];
  const [recordings, transcripts] = [await readTable(wavs), await readTable(text)];
  const segments = join(path, "segments");
  const cuts = (await isFile(segments)) ? await readTable(segments) : undefined;
  for (const [id, { value, line }] of transcripts) {
    const where = `${text}:${line}`;
    const cut = cuts?.get(id);
    if (cuts && !cut) {
      yield { skipped: where, why: `no ${id} in ${segments}` };
      continue;
    }
    const [recording, start, end] = cut ? cut.value.split(/\s+/) : [id];
    const wav = recordings.get(recording);
    if (!wav) yield { skipped: where, why: `no ${recording} in ${wavs}` };
    else if (wav.value.endsWith("|")) yield { skipped: where, why: "a command, not a file" };
    else if (cut && !isSpan(start, end))
      yield { skipped: `${segments}:${cut.line}`, why: `no start and end in seconds: ${cut.value}` };
    else {
      const audio = isAbsolute(wav.value) ? wav.value : join(path, wav.value);
      const times = cut ? { start: Number(start), end: Number(end) } : {};
      yield await utteranceOf(where, audio, joinChinese(value), { ...times, prompt });
    }
  }
  for (const [id, { line }] of cuts ?? recordings)
    if (!transcripts.has(id))
      yield { skipped: `${cuts ? segments : wavs}:${line}`, why: `no ${id} in ${text}` };
}

function isSpan(start: string | undefined, end: string | undefined): boolean {
  const [a, b] = [Number(start ?? NaN), Number(end ?? NaN)];
  return a >= 0 && b > a && Number.isFinite(b);
}

export const kaldi: Corpus = {
  layout: "directory with wav.scp and text, perhaps segments",
  read: (path, options) => readKaldi(path, "text", options),
};

/** @source AISHELL-2: data/wav.scp and data/trans.txt, separated by tabs, paths relative to them */
export const aishell2: Corpus = {
  layout: "AISHELL-2 directory with wav.scp and trans.txt",
  read: (path, options) => readKaldi(path, "trans.txt", options),
};
