import { readFile } from "node:fs/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { type PreparedClip, Transcriber, type Transcription } from "../decode/transcriber.js";
import { decodeAudio } from "../frontend/decode.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import { openDevice } from "../node/device.js";
import { demoModel } from "../node/demo.js";
import { modelFiles } from "../node/model-files.js";
import { findModel, modelForms } from "./model.js";
import { note, print, printJson, progressBar, report } from "./output.js";

interface TranscribeCliOptions {
  readonly model: string;
  readonly language?: "zh" | "en" | "ja";
  readonly hotwords?: string[];
  readonly context?: string;
  readonly itn: boolean;
  readonly weights?: WeightFormat;
  readonly batch: number;
  readonly maxTokens?: number;
  readonly json?: boolean;
  readonly debug?: boolean;
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError("expected a whole number from 1.");
  return value;
}

function list(text: string): string[] {
  return text
    .split(/[,，]/)
    .map((word) => word.trim())
    .filter((word) => word !== "");
}

export function transcribeCommand(): Command {
  return new Command("transcribe")
    .description("print the words spoken in each clip")
    .argument("<audio...>", "clips: wav, mp3, flac, ogg, opus or m4a, any rate and channels")
    .option("--model <model>", `${modelForms}; default: the demo`, demoModel)
    .addOption(new Option("--language <code>", "language that is spoken").choices(["zh", "en", "ja"]))
    .option("--hotwords <words>", "words to expect, separated by commas", list)
    .option("--context <text>", "what the clip is about")
    .option("--no-itn", "write numbers as spoken (no inverse text normalisation)")
    .addOption(
      new Option(
        "--weights <format>",
        "storage of the weights on the GPU; default: as in the checkpoint",
      ).choices(Object.keys(weightBlocks)),
    )
    .option("--batch <clips>", "clips that run together", positive, 1)
    .option(
      "--max-tokens <count>",
      "new tokens a clip at most; default: 32 and one per 60 ms of audio",
      positive,
    )
    .option("--json", "one JSON object per clip")
    .action(async (files: string[], _: unknown, command: Command) => {
      await transcribeFiles(files, command.optsWithGlobals<TranscribeCliOptions>());
    });
}

async function transcribeFiles(files: readonly string[], options: TranscribeCliOptions): Promise<void> {
  const model = await findModel(options.model);
  const { gpu, adapter } = await openDevice();
  note(`device: ${adapter.device} ${adapter.description}`);
  try {
    const transcriber = await loadTranscriber(gpu, model, options);
    for (let i = 0; i < files.length; i += options.batch) {
      await transcribeBatch(transcriber, files.slice(i, i + options.batch), options, files.length > 1);
    }
  } finally {
    gpu.destroy();
  }
}

async function loadTranscriber(
  gpu: Transcriber["gpu"],
  model: string,
  options: TranscribeCliOptions,
): Promise<Transcriber> {
  let bar: ReturnType<typeof progressBar> | undefined;
  try {
    return await Transcriber.load(gpu, modelFiles(model), {
      weights: options.weights,
      onProgress: (done, total) => (bar ??= progressBar("loading", total)).update(done),
    });
  } finally {
    bar?.stop();
  }
}

interface ReadyClip extends PreparedClip {
  readonly file: string;
}

async function transcribeBatch(
  transcriber: Transcriber,
  files: readonly string[],
  options: TranscribeCliOptions,
  named: boolean,
): Promise<void> {
  const clips: ReadyClip[] = [];
  for (const file of files) {
    try {
      const audio = await decodeAudio(await readFile(file), file);
      clips.push({ ...transcriber.prepare(audio, file), file });
    } catch (error) {
      report(error, options.debug === true);
    }
  }
  if (clips.length === 0) return;
  const { language, hotwords, context, itn, maxTokens: maxNewTokens } = options;
  const streaming = process.stdout.isTTY && clips.length === 1 && !named && !options.json;
  try {
    const results = await transcriber.transcribe(clips, {
      ...{ language, hotwords, context, itn, maxNewTokens },
      onText: streaming ? (_, text) => process.stdout.write(text) : undefined,
    });
    if (streaming) print("");
    for (const [i, result] of results.entries()) show(clips[i].file, result, options, { named, streaming });
  } catch (error) {
    report(error, options.debug === true);
  }
}

function show(
  file: string,
  result: Transcription,
  { json }: TranscribeCliOptions,
  { named, streaming }: { readonly named: boolean; readonly streaming: boolean },
): void {
  if (json) printJson({ file, ...result });
  else if (!streaming) print(named ? `${file}: ${result.text}` : result.text);
  if (result.finish === "length")
    note(`${file}: cut at ${result.tokenIds.length} tokens; --max-tokens allows more`);
  if (result.finish === "loop") note(`${file}: a repeating cycle was cut`);
}
