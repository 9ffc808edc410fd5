import { isAbsolute, join } from "node:path";
import { dataError } from "../errors.js";
import { lineText, readLines } from "../lines.js";
import {
  type Corpus,
  type CorpusOptions,
  type Found,
  isFile,
  joinUnspaced,
  otherLayout,
  utteranceOf,
} from "./corpus.js";
import { type KaldiPart, parseSegment, parseSide } from "./kaldi-parts.js";

/** Reads a table of Kaldi: each line is an id, white space and a value. */
export async function readTable(file: string): Promise<Map<string, { value: string; line: number }>> {
  if (!(await isFile(file))) throw dataError(file, "file", "a table of that name", "none", otherLayout);
  const table = new Map<string, { value: string; line: number }>();
  for await (const read of readLines(file)) {
    const text = lineText(read, file).trim();
    if (text === "") continue;
    const [, id, value] = /^(\S+)\s*(.*)$/u.exec(text)!;
    if (table.has(id)) throw dataError(`${file}:${read.line}`, "id", "one used once", id);
    table.set(id, { value, line: read.line });
  }
  return table;
}

/** Tables of Kaldi without audio or words. */
const unused = ["utt2lang", "utt2spk", "spk2gender"];

type Table = Awaited<ReturnType<typeof readTable>>;

/** Tables of a directory by id. */
interface Tables {
  readonly recordings: Table;
  readonly cuts: Table | undefined;
  readonly sides: Table | undefined;
}

/**
 * Reads `wav.scp` and the texts by id. `segments` has parts of recordings, and
 * `reco2file_and_channel` channels of recordings. Paths are relative to the directory.
 */
async function* readKaldi(
  path: string,
  texts: string,
  { prompt }: CorpusOptions,
): AsyncGenerator<Found, void, undefined> {
  const [wavs, text, segments] = [join(path, "wav.scp"), join(path, texts), join(path, "segments")];
  const [recordings, transcripts] = [await readTable(wavs), await readTable(text)];
  const cuts = await optionalTable(segments);
  const sides = await optionalTable(join(path, "reco2file_and_channel"));
  yield* unusedTables(path);
  for (const [id, { value, line }] of transcripts) {
    const part = partOf(path, id, `${text}:${line}`, { recordings, cuts, sides });
    if ("skipped" in part) yield part;
    else yield await utteranceOf(`${text}:${line}`, part.audio, joinUnspaced(value), { ...part, prompt });
  }
  for (const [id, { line }] of cuts ?? recordings)
    if (!transcripts.has(id))
      yield { skipped: `${cuts ? segments : wavs}:${line}`, why: `no ${id} in ${text}` };
}

async function* unusedTables(path: string): AsyncGenerator<Found, void, undefined> {
  const found: string[] = [];
  for (const name of unused) if (await isFile(join(path, name))) found.push(name);
  if (found.length === 0) return;
  const advice = "; name the language with --language, or with data's --prompt";
  yield { note: `${path}: not used: ${found.join(", ")}${found.includes("utt2lang") ? advice : ""}` };
}

async function optionalTable(file: string): Promise<Table | undefined> {
  return (await isFile(file)) ? readTable(file) : undefined;
}

interface AudioPart extends Omit<KaldiPart, "recording"> {
  readonly audio: string;
}

/** The audio of an utterance, or the reason why there is none. */
function partOf(
  path: string,
  id: string,
  where: string,
  { recordings, cuts, sides }: Tables,
): AudioPart | Extract<Found, { skipped: string }> {
  const segments = join(path, "segments");
  const cut = cuts?.get(id);
  if (cuts && !cut) return { skipped: where, why: `no ${id} in ${segments}` };
  const name = cut ? cut.value.split(/\s+/)[0] : id;
  const wav = recordings.get(name);
  if (!wav) return { skipped: where, why: `no ${name} in ${join(path, "wav.scp")}` };
  if (wav.value === "") return { skipped: where, why: `no path in ${join(path, "wav.scp")}` };
  if (wav.value.endsWith("|")) return { skipped: where, why: "a command, not a file" };
  const part = cut ? parseSegment(cut.value) : { recording: id };
  if (typeof part === "string") return { skipped: `${segments}:${cut!.line}`, why: part };
  const { recording, ...times } = part;
  const audio = isAbsolute(wav.value) ? wav.value : join(path, wav.value);
  const side = times.channel === undefined ? sides?.get(recording) : undefined;
  if (!side) return { audio, ...times };
  const channel = parseSide(side.value);
  if (typeof channel === "number") return { audio, ...times, channel };
  return { skipped: `${join(path, "reco2file_and_channel")}:${side.line}`, why: channel };
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
