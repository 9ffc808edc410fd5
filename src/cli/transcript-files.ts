import { existsSync, readdirSync } from "node:fs";
import { basename, extname, join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { LINE_COUNTS, LINE_WIDTHS } from "../decode/subtitles/cues.js";
import { type SubtitleFormat, subtitles } from "../decode/subtitles/formats.js";
import type { PageSegment } from "../decode/transcript-page/page.js";
import type { VoiceActivityDetector } from "../decode/vad/detector.js";
import { writeFileAtomic } from "../node/files.js";
import { ggufPaths } from "../node/model-files.js";
import { makeDirectory } from "../node/make-directory.js";
import { checkOutput } from "../node/output-place.js";
import type { ChannelChoice } from "./channel.js";
import { whole } from "./numbers.js";
import { exitCode, note, print, printJson, printPart, shown } from "./output.js";
import { hasSegments } from "./partial-work.js";
import { sayIfStopped } from "./signals.js";
import { writeReport } from "./transcript-report.js";
import { refuseIdle } from "./usage.js";

const endings = { text: "txt", json: "json", srt: "srt", vtt: "vtt", tsv: "tsv", lrc: "lrc" } as const;

type Format = keyof typeof endings;

const all = Object.keys(endings) as Format[];

/** The options of a command that writes transcripts. */
export interface TranscriptFileOptions {
  readonly format?: Format | "all";
  readonly outputDir?: string;
  readonly wordTimes?: boolean;
  readonly maxLineWidth?: number;
  readonly maxLines?: number;
  readonly resume?: boolean;
  readonly report?: string;
  readonly json?: boolean;
  readonly model: string;
  /** "off": no segments. Default: the net of this package, for long clips. */
  readonly vad?: string;
  readonly channel?: ChannelChoice;
}

/** What a transcript's files are made from. */
export interface FileTranscript {
  /** The clip. */
  readonly file: string;
  /** The channel that was asked for, counted from 1. */
  readonly channel?: number | undefined;
  readonly segments: readonly PageSegment[];
  /** What --json prints. */
  readonly object: object;
}

export function addTranscriptFileOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--format <name>",
        "form of the transcripts; default: text, or all with --output-dir",
      ).choices([...all, "all"]),
    )
    .option("--output-dir <dir>", "write a file per clip and format there, NAME.srt of NAME.mp3")
    .option("--resume", "skip clips whose files are in --output-dir already")
    .option("--report <file>", "write a page with waveform, segments and words, which light up as it plays")
    .option(
      "--word-times",
      "times of words after the text, and in json, vtt and lrc; by the CTC head of a checkpoint that has one",
    )
    .option(
      "--max-line-width <columns>",
      "srt, vtt: most columns of a line, wide characters 2.1 each; default: 42",
      whole(...LINE_WIDTHS),
    )
    .option("--max-lines <count>", "srt, vtt: most lines of a cue; default: 2", whole(...LINE_COUNTS));
}

/** Ends with wrong usage if options do not fit together, or one has no effect. */
export function checkTranscriptUsage(
  command: Command,
  files: readonly string[],
  options: TranscriptFileOptions,
): void {
  const { outputDir, format, json, channel } = options;
  const formats = formatsOf(options);
  const wrong = (message: string): never =>
    command.error(`error: ${message}`, { exitCode: exitCode.wrongUsage });
  refuseIdle(command, [
    { options: ["resume"], met: outputDir !== undefined, needs: "--output-dir" },
    {
      options: ["maxLineWidth", "maxLines"],
      met: formats.some((name) => ["srt", "vtt", "lrc"].includes(name)),
      needs: "--format srt, vtt, lrc or all",
    },
  ]);
  if (options.report !== undefined && (files.length > 1 || channel === "each"))
    wrong("--report takes one transcript; name one clip and one channel");
  if (options.report !== undefined && files[0] === "-")
    wrong("--report needs a file, which it reads again; got standard input");
  if (outputDir !== undefined) {
    const same = sameStem(files);
    if (same !== undefined) wrong(same);
    return;
  }
  if (format === "all") wrong("--format all needs --output-dir");
  if (format === undefined || format === "text" || format === "json") return;
  if (files.length > 1 || channel === "each")
    wrong(`--format ${format} of several transcripts needs --output-dir`);
  if (json) wrong(`--json and --format ${format} need --output-dir`);
}

function formatsOf({
  format,
  outputDir,
}: Pick<TranscriptFileOptions, "format" | "outputDir">): readonly Format[] {
  if (format === "all" || (format === undefined && outputDir !== undefined)) return all;
  return [format ?? "text"];
}

/** Files that share a name without directory and type. @returns why they cannot go together */
export function sameStem(files: readonly string[]): string | undefined {
  for (const [stem, names] of filesByStem(files))
    if (names.length > 1) return `${names.join(" and ")} would both be written as ${stem}; rename one`;
  return undefined;
}

function filesByStem(files: readonly string[]): Map<string, string[]> {
  const stems = new Map<string, string[]>();
  for (const file of new Set(files)) stems.set(stemOf(file), [...(stems.get(stemOf(file)) ?? []), file]);
  return stems;
}

/** A clip's name without its directory and its type. */
function stemOf(file: string): string {
  return file === "-" ? "stdin" : basename(file, extname(file));
}

type Places = Pick<TranscriptFileOptions, "channel" | "format" | "outputDir" | "report">;

/** A clip's file in --output-dir; with --channel each, the file of one channel. */
function pathOf(dir: string, file: string, end: string, channel?: number): string {
  return join(dir, `${stemOf(file)}${channel === undefined ? "" : `.${channel}`}.${end}`);
}

/** Every file of a clip. @param channel  counted; a name has it with --channel each */
function outputsOf(file: string, channel: number | undefined, options: Places): string[] {
  const own = options.channel === "each" ? channel : undefined;
  return formatsOf(options).map((format) => pathOf(options.outputDir!, file, endings[format], own));
}

/** Whether all that a run would write for a clip is there. */
export function hasOutputs(file: string, channel: number | undefined, options: Places): boolean {
  const { outputDir, report } = options;
  if (outputDir === undefined) return false;
  return [...outputsOf(file, channel, options), ...(report === undefined ? [] : [report])].every((path) =>
    existsSync(path),
  );
}

/** Where the finished segments of a long clip are kept until its files are written. */
export function partialPath(file: string, channel: number | undefined, options: Places): string | undefined {
  const own = options.channel === "each" ? channel : undefined;
  return options.outputDir === undefined ? undefined : pathOf(options.outputDir, file, "jsonl.part", own);
}

/**
 * Makes --output-dir, and refuses files that cannot be written.
 * @returns the clips that are to be transcribed: with --resume those without all their files
 * @throws WriteError
 */
export async function prepareOutputs(
  files: readonly string[],
  options: TranscriptFileOptions,
): Promise<readonly string[]> {
  const { outputDir, resume, report, channel } = options;
  if (report !== undefined) await checkOutput(report, { inputs: files });
  if (outputDir === undefined) return files;
  await makeDirectory(outputDir);
  const left = files.filter((file) => !resume || channel === "each" || !hasOutputs(file, undefined, options));
  if (left.length < files.length) note(`${files.length - left.length} of ${files.length} clips are done`);
  for (const file of left) {
    const one = channel === "each" ? 1 : undefined;
    for (const path of [...outputsOf(file, one, options), partialPath(file, one, options)!])
      await checkOutput(path, { inputs: files });
  }
  const hint = `what is done stays in ${outputDir}; the same command with --resume goes on`;
  sayIfStopped(() => (hasWork(outputDir, files) ? hint : undefined));
  return left;
}

/** Whether a directory has files of a clip, or finished segments of one. */
function hasWork(dir: string, files: readonly string[]): boolean {
  const stems = new Set(files.map(stemOf));
  return readdirSync(dir).some((name) => {
    const [, stem, end] = /^(.*)\.(txt|json|srt|vtt|tsv|lrc|jsonl\.part)$/su.exec(name) ?? [];
    if (stem === undefined || !(stems.has(stem) || stems.has(stem.replace(/\.\d+$/u, "")))) return false;
    return end !== "jsonl.part" || hasSegments(join(dir, name));
  });
}

/** Whether transcripts go to stdout as text. */
export function isPlain(options: TranscriptFileOptions): boolean {
  const { format = "text", json, outputDir } = options;
  return !json && outputDir === undefined && format === "text";
}

/** What all transcripts of a run share. */
interface Delivery {
  readonly options: TranscriptFileOptions;
  readonly detector: () => Promise<VoiceActivityDetector>;
}

/**
 * Writes a transcript's files, and prints what is not plain text.
 * @throws WriteError
 */
export async function deliver(transcript: FileTranscript, options: TranscriptFileOptions): Promise<void> {
  const { file, channel, object } = transcript;
  const { json } = options;
  const formats = formatsOf(options);
  if (options.outputDir === undefined) {
    const [format] = formats;
    if (json) printJson(object);
    else if (format !== "text") printPart(contentOf(transcript, format, options));
    return;
  }
  const outputs = outputsOf(file, channel, options);
  for (const [i, path] of outputs.entries())
    await writeFileAtomic(path, [new TextEncoder().encode(contentOf(transcript, formats[i], options))]);
  if (json) printJson({ ...object, outputs });
  else for (const path of outputs) print(shown(path));
}

/**
 * Writes the page of a transcript that was printed or written.
 * @throws WriteError, AudioError
 */
export async function deliverReport(
  { file, channel, segments }: FileTranscript,
  { options, detector }: Delivery,
): Promise<void> {
  const { report, model } = options;
  if (report === undefined) return;
  const about = [`model ${nameOf(model)}`];
  const net = options.vad === "off" ? undefined : await detector();
  await writeReport(report, { file, channel, about, segments }, net);
}

/** A model as a page names it: without the directories of this machine. */
function nameOf(model: string): string {
  const paths = ggufPaths(model) ?? (existsSync(model) ? [model] : undefined);
  return paths?.map((path) => basename(resolve(path))).join(",") ?? model;
}

function contentOf(
  { segments, object }: FileTranscript,
  format: Format,
  options: TranscriptFileOptions,
): string {
  if (format === "json") return `${JSON.stringify(object, null, 1)}\n`;
  const name: SubtitleFormat = format === "text" ? "txt" : format;
  return subtitles(segments, name, options);
}
