import { join } from "node:path";
import { Command, Option } from "commander";
import { AudioWindow } from "../decode/segments/audio-window.js";
import { DetectedSpeech } from "../decode/segments/feed.js";
import { baseName } from "../decode/segments/segment-file.js";
import type { VoiceActivityDetector } from "../decode/vad/detector.js";
import { MOST_SILENCE_MS, type SegmenterOptions, type SpeechSegment } from "../decode/vad/segmenter.js";
import { wavBytes } from "../frontend/write-wav.js";
import { streamClip } from "../node/clip.js";
import { writeFileAtomic } from "../node/files.js";
import { makeDirectory } from "../node/make-directory.js";
import { audioForms } from "./audio-forms.js";
import { oneChannelOption } from "./channel.js";
import { withDevice } from "./device.js";
import { number, whole } from "./numbers.js";
import { exitCode, note, print, printJson, report, shown } from "./output.js";
import { strictOption } from "./transcribe.js";
import { sameStem } from "./transcript-files.js";
import { refuseIdle } from "./usage.js";
import { checkVad, loadVad, vadOption } from "./vad-model.js";

const formats = ["text", "rttm", "audacity"] as const;

interface VadCliOptions {
  readonly vad: string;
  readonly maxEndSilence?: number;
  readonly maxSegment?: number;
  readonly threshold?: number;
  readonly format: (typeof formats)[number];
  readonly pieces?: string;
  readonly channel?: number;
  readonly strict?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

export function vadCommand(): Command {
  return new Command("vad")
    .description("print where in each recording there is speech")
    .argument("<audio...>", `recordings: ${audioForms}`)
    .addOption(vadOption())
    .option(
      "--max-end-silence <ms>",
      "silence that ends a segment; default: 2000, and less in a long segment",
      whole(0, MOST_SILENCE_MS),
    )
    .option("--max-segment <ms>", "a longer segment is cut; default: 60000", whole(1000, 86_400_000))
    .option(
      "--threshold <number>",
      "a frame is speech where p(speech) - p(silence) is at least this; default: 0.5, with --max-end-silence 0.6",
      number("a number from -1 to 1", (value) => value >= -1 && value <= 1),
    )
    .addOption(
      new Option("--format <format>", "begin and end in seconds, RTTM, or labels of Audacity")
        .choices(formats)
        .default("text"),
    )
    .option("--pieces <directory>", "also write each segment as a WAV of 16 kHz there")
    .addOption(oneChannelOption())
    .addOption(strictOption())
    .option("--json", "one JSON object per recording")
    .action(async (files: string[], _: unknown, command: Command) => {
      const options = command.optsWithGlobals<VadCliOptions>();
      const same = options.pieces !== undefined || options.format === "rttm" ? sameStem(files) : undefined;
      if (same !== undefined) command.error(`error: ${same}`, { exitCode: exitCode.wrongUsage });
      refuseIdle(command, [
        { options: ["format"], met: options.json !== true, needs: "lines of text, not --json" },
      ]);
      await findSpeech(files, options);
    });
}

async function findSpeech(files: readonly string[], options: VadCliOptions): Promise<void> {
  const vad = await checkVad(options.vad, options.debug);
  if (vad === false) return;
  if (options.pieces !== undefined) await makeDirectory(options.pieces);
  await withDevice(async ({ gpu }) => {
    const detector = await loadVad(gpu, vad);
    for (const file of files) {
      try {
        await findSpeechIn(detector, file, options, files.length > 1);
      } catch (error) {
        report(error, options.debug === true, file);
      }
    }
  });
}

/** Prints a recording's segments as they end. */
async function findSpeechIn(
  detector: VoiceActivityDetector,
  file: string,
  options: VadCliOptions,
  named: boolean,
): Promise<void> {
  const { channel, strict, json, maxEndSilence, maxSegment, threshold } = options;
  const settings: SegmenterOptions = { maxEndSilenceMs: maxEndSilence, maxSegmentMs: maxSegment, threshold };
  const rate = detector.sampleRate;
  const stream = detector.stream({ name: file });
  const speech = new DetectedSpeech(stream, settings);
  const audio = new AudioWindow();
  const all: SpeechSegment[] = [];
  const found = async (segments: readonly SpeechSegment[]): Promise<void> => {
    for (const segment of segments) {
      all.push(segment);
      if (!json) print(lineOf(segment, file, options, named));
      if (options.pieces !== undefined) {
        const samples = audio.slice((segment.startMs * rate) / 1000, (segment.endMs * rate) / 1000);
        await writeFileAtomic(join(options.pieces, pieceName(file, segment)), [wavBytes(samples, rate)]);
      }
    }
  };
  try {
    const sink = async (samples: Float32Array): Promise<void> => {
      if (options.pieces !== undefined) audio.push(samples);
      await found(await speech.push(samples));
      speech.forget(speech.pendingMs);
      audio.drop((speech.pendingMs * rate) / 1000);
    };
    const { seconds, damage, warning } = await streamClip(file, { strict, rate, channel }, sink);
    await found(await speech.end());
    const warnings = [damage, warning].filter((text) => text !== undefined);
    for (const text of warnings) note(`warning: ${shown(file)}: ${text}`);
    if (all.length === 0) note(`${shown(file)}: no speech was found`);
    if (json)
      printJson({
        file,
        audioSeconds: seconds,
        segments: all.map(secondsOf),
        ...(warnings.length > 0 && { warnings }),
      });
  } finally {
    stream.free();
  }
}

function secondsOf({ startMs, endMs }: SpeechSegment): { readonly start: number; readonly end: number } {
  return { start: startMs / 1000, end: endMs / 1000 };
}

function lineOf(
  segment: SpeechSegment,
  file: string,
  { format, channel = 1 }: VadCliOptions,
  named: boolean,
): string {
  const { start, end } = secondsOf(segment);
  const fixed = (seconds: number): string => seconds.toFixed(3);
  if (format === "rttm")
    return `SPEAKER ${baseName(file)} ${channel} ${fixed(start)} ${fixed(end - start)} <NA> <NA> speech <NA> <NA>`;
  if (format === "audacity") return `${fixed(start)}\t${fixed(end)}\tspeech`;
  return `${named ? `${shown(file)}: ` : ""}${fixed(start)} ${fixed(end)}`;
}

/** The name of a piece, by which pieces sort in the order of time. */
function pieceName(file: string, { startMs, endMs }: SpeechSegment): string {
  const padded = (ms: number): string => String(ms).padStart(8, "0");
  return `${baseName(file)}-${padded(startMs)}-${padded(endMs)}.wav`;
}
