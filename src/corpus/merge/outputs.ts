import { dirname, join, resolve } from "node:path";
import { utteranceLine } from "../../data/utterances.js";
import { reason } from "../../json.js";
import { writeDirectoryAtomic, writeFileAtomic } from "../../node/files.js";
import { makeDirectory } from "../../node/make-directory.js";
import type { CorpusDirectory } from "../directory.js";
import type { Item, ResultRecord } from "../item.js";
import { audioFile, isFile } from "./audio.js";
import { type Filters, type OutputLine, type Reason, outputLines } from "./lines.js";
import { type ReadCorpusOptions, mergedParts, recordsOf } from "./read.js";
import { tarEnd, tarFile } from "./tar.js";

/** Where utterances for training go. */
export interface OutputOptions extends ReadCorpusOptions {
  /**
   * train: JSONL of `{audio, text, start?, end?, channel?}`; funasr: JSONL of FunASR's conversations;
   * webdataset: a directory of tars of about an hour
   */
  readonly to: "train" | "funasr" | "webdataset";
  readonly out: string;
  /** Directory of the audio that has to be written: parts for FunASR, members of tars. */
  readonly audio?: string;
  readonly filters?: Filters;
  /** Called with each utterance whose audio cannot be read. */
  readonly onFault?: (line: string, why: string) => void;
}

/** What was written, and what was left out. */
export interface OutputTally {
  lines: number;
  seconds: number;
  readonly dropped: Partial<Record<Reason, number>>;
}

const TAR_SECONDS = 3600;
/** Of FunASR. @source FunASR Fun-ASR-Nano `tools/scp2jsonl.py` */
const REQUEST = "语音转写：";
const SYSTEM = "You are a helpful assistant.";

/** Writes a corpus as utterances for training. @throws as mergeCorpus */
export async function writeOutput(directory: CorpusDirectory, options: OutputOptions): Promise<OutputTally> {
  const tally: OutputTally = { lines: 0, seconds: 0, dropped: {} };
  const lines = linesOf(directory, options, tally);
  if (options.to === "webdataset") await writeDirectoryAtomic(options.out, tars(lines, options, tally));
  else {
    if (options.audio !== undefined) await makeDirectory(options.audio);
    await writeFileAtomic(options.out, jsonl(lines, options, tally));
  }
  tally.seconds = Math.round(tally.seconds * 1000) / 1000;
  return tally;
}

async function* linesOf(
  directory: CorpusDirectory,
  { filters = {}, ...options }: OutputOptions,
  tally: OutputTally,
): AsyncGenerator<OutputLine, void, undefined> {
  const members = new Members(directory);
  for await (const part of mergedParts(directory, options)) {
    const records: ResultRecord[] = Array.isArray(part) ? part : recordsOf(part);
    for (const record of records)
      yield* outputLines(record, await members.of(record), filters, (why) => drop(tally, why));
  }
}

function drop({ dropped }: OutputTally, why: Reason): void {
  dropped[why] = (dropped[why] ?? 0) + 1;
}

/** Where the members of tars lie: the plan has it. */
class Members {
  #next = 0;
  #items = new Map<number, Item["member"]>();

  constructor(private readonly directory: CorpusDirectory) {}

  async of({ index, member }: ResultRecord): Promise<Item["member"]> {
    while (member !== undefined && !this.#items.has(index)) {
      const shard = this.directory.shards.at(this.#next++);
      if (!shard) return undefined;
      this.#items = new Map((await this.directory.items(shard)).map((item) => [item.index, item.member]));
    }
    return member === undefined ? undefined : this.#items.get(index);
  }
}

async function* jsonl(
  lines: AsyncIterable<OutputLine>,
  options: OutputOptions,
  tally: OutputTally,
): AsyncGenerator<Uint8Array, void, undefined> {
  const encoder = new TextEncoder();
  for await (const line of lines) {
    const audio = await fileFor(line, options, tally);
    if (audio === undefined) continue;
    tally.lines++;
    tally.seconds += line.seconds;
    const { text } = line;
    const made =
      options.to === "train"
        ? utteranceLine({ ...audio, text }, dirname(options.out))
        : conversation(resolve(audio.audio), line);
    yield encoder.encode(`${made}\n`);
  }
}

/** The audio of a line as JSONL names it; undefined where it cannot. */
async function fileFor(
  line: OutputLine,
  options: OutputOptions,
  tally: OutputTally,
): Promise<OutputLine["audio"] | undefined> {
  if (isFile(line) || (options.to === "train" && !line.audio.member)) return line.audio;
  if (options.audio === undefined) {
    drop(tally, "audio");
    return undefined;
  }
  const file = await readable(line, options, tally);
  if (!file) return undefined;
  const path = join(options.audio, `${line.name}${file.extension}`);
  await writeFileAtomic(path, [file.bytes]);
  return { audio: path };
}

async function readable(
  line: OutputLine,
  { onFault }: OutputOptions,
  tally: OutputTally,
): Promise<Awaited<ReturnType<typeof audioFile>> | undefined> {
  try {
    return await audioFile(line);
  } catch (error) {
    drop(tally, "audio");
    onFault?.(line.name, reason(error));
    return undefined;
  }
}

/** FunASR takes paths from where it runs: they are absolute. */
function conversation(path: string, { text, seconds, record }: OutputLine): string {
  const words = record.reference === undefined ? {} : { reference: record.reference };
  return JSON.stringify({
    messages: [
      { role: "system", content: SYSTEM },
      { role: "user", content: `${REQUEST}<|startofspeech|>!${path}<|endofspeech|>` },
      { role: "assistant", content: text },
    ],
    speech_length: Math.floor((seconds * 1000 - 25) / 10) + 1,
    text_length: Array.from(text).length,
    ...words,
  });
}

/**
 * Tars of about an hour in a directory that is there when all are; only one hour's lines are in
 * memory, and one file's bytes.
 */
async function* tars(
  lines: AsyncIterable<OutputLine>,
  options: OutputOptions,
  tally: OutputTally,
): AsyncGenerator<{ readonly name: string; readonly pieces: () => AsyncIterable<Uint8Array> }> {
  let made = 0;
  let open: OutputLine[] = [];
  let seconds = 0;
  const next = () => {
    const all = open;
    [open, seconds] = [[], 0];
    return { name: `${String(made++).padStart(6, "0")}.tar`, pieces: () => tar(all, options, tally) };
  };
  for await (const line of lines) {
    open.push(line);
    seconds += line.seconds;
    if (seconds >= TAR_SECONDS) yield next();
  }
  if (open.length > 0) yield next();
}

async function* tar(
  lines: readonly OutputLine[],
  options: OutputOptions,
  tally: OutputTally,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const line of lines) {
    const file = await readable(line, options, tally);
    if (!file) continue;
    tally.lines++;
    tally.seconds += line.seconds;
    const { text, seconds, record } = line;
    const { key, reference, agreement } = record;
    const json = { text, duration: seconds, key, reference, agreement };
    yield* tarFile(`${line.name}${file.extension}`, file.bytes);
    yield* tarFile(`${line.name}.json`, new TextEncoder().encode(JSON.stringify(json)));
  }
  yield tarEnd();
}
