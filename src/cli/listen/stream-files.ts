import type { Command } from "commander";
import type { LiveOptions } from "../../decode/live/options.js";
import { withDevice } from "../device.js";
import { promptOptions } from "../hear.js";
import { findModel } from "../model.js";
import { openTranscriber } from "../open-transcriber.js";
import { note, report, shown } from "../output.js";
import type { TranscribeCliOptions } from "../transcribe-options.js";
import { refuseIdle } from "../usage.js";
import { checkVad, loadVad } from "../vad-model.js";
import { vadModel } from "../../node/demo.js";
import { LivePrinter } from "./live-printer.js";
import { type LiveModels, feedFile, liveEngine, runLive } from "./live-run.js";

/** Options of `transcribe` that are of whole transcripts or of the segments of recordings. */
const withoutStream = [
  ...["format", "outputDir", "resume", "report", "wordTimes", "maxLineWidth", "maxLines"],
  ...["segments", "mergeSeconds", "batch", "batchTokens", "maxTokens", "repetitionPenalty"],
];

/** Ends with wrong usage if an option has no effect beside --stream. */
export function checkStreamUsage(command: Command, { vad, channel }: TranscribeCliOptions): void {
  refuseIdle(command, [
    { options: withoutStream, met: false, needs: "whole transcripts, not --stream" },
    { options: ["vad"], met: vad !== "off", needs: "segments, which --stream ends by voice activity" },
    { options: ["channel"], met: channel !== "each", needs: "one channel beside --stream" },
  ]);
}

/** Prints what a live session of each recording reports, as it comes. */
export async function streamFiles(files: readonly string[], options: TranscribeCliOptions): Promise<void> {
  const { weights, lora, debug } = options;
  const vad = await checkVad(options.vad ?? vadModel, debug);
  if (vad === false) return;
  const model = await findModel(options.model);
  const prompt = promptOptions(options);
  await withDevice(async ({ gpu }) => {
    const transcriber = await openTranscriber(gpu, model, { weights, lora }, prompt, debug);
    if (!transcriber) return;
    const detector = await loadVad(gpu, vad);
    const models = { engine: liveEngine(transcriber), detector };
    const { sampleRate: rate } = transcriber;
    for (const file of files)
      await streamFile(models, { file, rate, named: files.length > 1 }, options).catch((error: unknown) =>
        report(error, debug === true, file),
      );
  });
}

interface StreamedFile {
  readonly file: string;
  readonly rate: number;
  /** Whether lines name the file. */
  readonly named: boolean;
}

async function streamFile(
  models: LiveModels,
  { file, rate, named }: StreamedFile,
  options: TranscribeCliOptions,
): Promise<void> {
  const { strict, channel, json, maxEndSilence } = options;
  const label = shown(file);
  const printer = new LivePrinter({ json, file, ...(named && { label }) });
  const live: LiveOptions = {
    ...promptOptions(options),
    name: file,
    wordTimes: false,
    maxEndSilenceMs: maxEndSilence,
  };
  const reading = { rate, strict, ...(typeof channel === "number" && { channel }) };
  const warnings = await runLive(models, live, printer, (session) => feedFile(session, file, reading));
  for (const text of warnings) note(`warning: ${label}: ${text}`);
  if (printer.count === 0) note(`${label}: no speech was found`);
}
