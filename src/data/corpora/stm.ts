import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { show } from "../../json.js";
import { countedSeconds } from "../audio-length.js";
import { dataError } from "../errors.js";
import { MAX_LINE_BYTES, lineText, readLines } from "../lines.js";
import { firstOverlap, joinedText } from "../timed-text.js";
import type { Utterance } from "../utterances.js";
import { type Corpus, type CorpusOptions, type Found, isDirectory, otherLayout } from "./corpus.js";
import { type StmRecord, parseStmLine } from "./stm-line.js";

/** STM files have a line of text every few seconds. */
const MOST_BYTES = 256 << 20;
/** Of a line of JSONL, for what stands beside the reference. */
const SPARE_BYTES = 16 << 10;
const MOST_SECONDS_BEHIND = 1; // that a reference may pass the end of its audio

/** Extensions of audio that can be read. */
const EXTENSIONS = "wav flac mp3 ogg oga opus m4a mp4 aac webm mkv aif aiff aifc w64 au snd".split(" ");

/** A record with its line. */
interface Placed extends StmRecord {
  readonly line: number;
}

/** A recording as the lines of a file name it. */
interface Recording {
  readonly name: string;
  /** Records by channel. */
  readonly channels: Map<string, Placed[]>;
  /** The first line that is no record of it. */
  fault?: { readonly line: number; readonly why: string };
}

/** Recordings of STM files: each channel is one utterance with its segments. */
async function* readStm(
  path: string,
  { audio, prompt }: CorpusOptions,
): AsyncGenerator<Found, void, undefined> {
  for (const file of await stmFiles(path)) {
    const directory = audio ?? dirname(file);
    const clips = await audioFiles(directory);
    for (const recording of (await recordingsOf(file)).values()) {
      const found = await utterancesOf(recording, directory, clips);
      if (!Array.isArray(found)) yield { skipped: `${file}:${found.line}`, why: found.why };
      else
        for (const utterance of found)
          yield { utterance: { ...utterance, ...(prompt !== undefined && { prompt }) } };
    }
  }
}

async function stmFiles(path: string): Promise<string[]> {
  if (!(await isDirectory(path))) return [path];
  const names = (await readdir(path)).filter((name) => name.toLowerCase().endsWith(".stm")).sort();
  if (names.length > 0) return names.map((name) => join(path, name));
  throw dataError(path, "directory", "files *.stm", "none", otherLayout);
}

/** Names of a directory's audio files by the name without extension. */
async function audioFiles(directory: string): Promise<Map<string, string[]>> {
  if (!(await isDirectory(directory)))
    throw dataError(directory, "directory", "a directory with the audio", "none", "name it with --audio");
  const found = new Map<string, string[]>();
  for (const name of (await readdir(directory)).sort()) {
    const [, base, extension] = /^(.*)\.([^.]*)$/su.exec(name) ?? [];
    if (base === undefined || !EXTENSIONS.includes(extension.toLowerCase())) continue;
    for (const key of [base, name]) found.set(key, [...(found.get(key) ?? []), name]);
  }
  return found;
}

/** By name, in the order of their first lines. */
async function recordingsOf(file: string): Promise<Map<string, Recording>> {
  const { size } = await stat(file);
  if (size > MOST_BYTES)
    throw dataError(file, "size", `at most ${MOST_BYTES} bytes`, `${size}`, "split it by recordings");
  const found = new Map<string, Recording>();
  for await (const read of readLines(file)) {
    const { line } = read;
    const record = parseStmLine(lineText(read, file));
    if (record === undefined) continue;
    const name = record.recording;
    const recording: Recording = found.get(name) ?? { name, channels: new Map() };
    found.set(name, recording);
    if ("why" in record) {
      recording.fault ??= { line, why: record.why };
      continue;
    }
    const records = recording.channels.get(record.channel) ?? [];
    recording.channels.set(record.channel, records);
    records.push({ ...record, line });
  }
  if (found.size > 0) return found;
  throw dataError(file, "content", "lines of FILE CHANNEL SPEAKER START END TEXT", "none", otherLayout);
}

/** A recording's utterances, or the line for which there are none. */
async function utterancesOf(
  { name, channels, fault }: Recording,
  directory: string,
  clips: ReadonlyMap<string, readonly string[]>,
): Promise<Omit<Utterance, "line">[] | { readonly line: number; readonly why: string }> {
  if (fault) return fault;
  const [[{ line: first }]] = channels.values();
  const names = clips.get(name) ?? [];
  if (names.length !== 1) return { line: first, why: fileFault(name, directory, names) };
  const audio = join(directory, names[0]);
  const seconds = await countedSeconds(audio);
  const utterances: Omit<Utterance, "line">[] = [];
  for (const [side, records] of channels) {
    const channel = parseChannel(side);
    if (channel === undefined && channels.size > 1) return { line: records[0].line, why: channelFault(side) };
    const sorted = records.sort((a, b) => a.start - b.start);
    const overlap = firstOverlap(sorted);
    if (overlap) return { line: overlap.after.line, why: overlapFault(overlap) };
    const last = sorted.reduce((a, b) => (b.end > a.end ? b : a));
    if (seconds !== undefined && last.end > seconds + MOST_SECONDS_BEHIND)
      return {
        line: last.line,
        why: `end: expected at most the ${seconds.toFixed(2)} s of ${names[0]}, got ${last.end}; name the recording that the line is of, or correct its times`,
      };
    const utterance = { audio, ...(channel !== undefined && { channel }), ...timedParts(sorted) };
    if (Buffer.byteLength(JSON.stringify(utterance)) > MAX_LINE_BYTES - SPARE_BYTES)
      return {
        line: first,
        why: `recording: expected at most ${MAX_LINE_BYTES} bytes of reference, got more; split it`,
      };
    utterances.push(utterance);
  }
  return utterances;
}

function timedParts(records: readonly Placed[]): Pick<Utterance, "text" | "segments" | "ignore"> {
  const segments = records
    .filter(({ text }) => text !== "")
    .map(({ start, end, text }) => ({ start, end, text }));
  const ignore = records
    .filter(({ ignored, start, end }) => ignored && end > start)
    .map(({ start, end }) => ({ start, end }));
  return { text: joinedText(segments), segments, ...(ignore.length > 0 && { ignore }) };
}

function fileFault(name: string, directory: string, names: readonly string[]): string {
  const expected = `audio: expected one file ${show(name)} with the extension of an audio format in ${directory}`;
  return names.length === 0
    ? `${expected}, got none; name its directory with --audio, convert NIST SPHERE (.sph) with sox or ffmpeg`
    : `${expected}, got ${names.join(", ")}; leave one`;
}

function channelFault(side: string): string {
  return `channel: expected 1, 2, … or A, B, …, got ${show(side)}; number the channels of a recording that has several`;
}

function overlapFault({ before, after }: { readonly before: Placed; readonly after: Placed }): string {
  return `start: expected ${before.end}, the end of line ${before.line}, or more, got ${after.start}; mark speech of several at once IGNORE_TIME_SEGMENT_IN_SCORING`;
}

/** A, B, … or 1, 2, … → 1, 2, … */
function parseChannel(side: string): number | undefined {
  if (/^[a-z]$/iu.test(side)) return side.toUpperCase().charCodeAt(0) - "A".charCodeAt(0) + 1;
  return /^[1-9]\d{0,2}$/u.test(side) ? Number(side) : undefined;
}

/**
 * @source NIST SCTK doc/infmts.htm; TED-LIUM has one file for each recording, in `stm` beside the
 *   audio's directory
 */
export const stm: Corpus = {
  layout: "STM file, or directory of them; --audio is the directory of the recordings",
  read: readStm,
};
