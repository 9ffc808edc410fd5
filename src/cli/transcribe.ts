import { Command, InvalidArgumentError, Option } from "commander";
import {
  type PreparedClip,
  type TranscribeOptions,
  type Transcriber,
  type Transcription,
} from "../decode/transcriber.js";
import { defaultMaxNewTokens } from "../decode/answer-limit.js";
import { languageWarning, scriptWarning, translationWarning } from "../decode/language-warnings.js";
import { loadTranscriber } from "../decode/load.js";
import { type TargetLanguage, translate, translationPrompt } from "../decode/translator.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { demoModel } from "../node/demo.js";
import { PromptError } from "../tokenizer/errors.js";
import type { Language } from "../tokenizer/languages.js";
import type { PromptOptions } from "../tokenizer/prompt.js";
import { type ChannelChoice, channelOption, chosenChannels } from "./channel.js";
import { decodeClip, findClip } from "../node/clip.js";
import { withDevice } from "./device.js";
import { languageOption } from "./language.js";
import { timeLoading } from "./loaded.js";
import {
  findModel,
  loraOption,
  modelForms,
  openModel,
  warnOf,
  warnOfOtherEncoder,
  weightsOption,
} from "./model.js";
import { natural, positive } from "./numbers.js";
import { exitCode, note, print, printJson, printPart, report, shown, status } from "./output.js";

export interface TranscribeCliOptions {
  readonly model: string;
  readonly lora?: readonly string[];
  /** Language to translate into; absent: the words as spoken. */
  readonly to?: TargetLanguage;
  readonly cascade?: boolean;
  readonly language?: Language;
  readonly hotwords?: string[];
  readonly context?: string;
  readonly itn: boolean;
  readonly weights?: WeightFormat;
  readonly batch: number;
  readonly maxTokens?: number;
  readonly repetitionPenalty?: number;
  readonly channel?: ChannelChoice;
  readonly strict?: boolean;
  readonly wordTimes?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** Of the commands that write what is heard. */
export function penaltyOption(): Option {
  return new Option(
    "--repetition-penalty <number>",
    "scores of tokens that an answer has already are divided by this",
  ).argParser(positive);
}

/** What every command that decodes audio does with files that lost some. */
export function strictOption(): Option {
  return new Option("--strict", "refuse audio that is cut short or damaged, instead of a warning");
}

function list(text: string): string[] {
  const words = text
    .split(/[,，]/)
    .map((word) => word.trim())
    .filter((word) => word !== "");
  if (words.length === 0) throw new InvalidArgumentError("Expected words separated by commas.");
  return words;
}

export function transcribeCommand(): Command {
  return new Command("transcribe")
    .description("print the words spoken in each clip")
    .argument(
      "<audio...>",
      "clips: wav, aiff, mp3, flac, ogg, opus, m4a, aac or webm, any rate and channels; - is standard input",
    )
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .addOption(loraOption())
    .addOption(languageOption("language that is spoken; default: the model finds out, naming it is surer"))
    .option("--hotwords <words>", "words to expect, separated by commas", list)
    .option("--context <text>", "what the clip is about")
    .option("--no-itn", "write numbers as spoken (no inverse text normalisation)")
    .addOption(weightsOption())
    .option("--batch <clips>", "clips that run together", natural, 1)
    .option(
      "--max-tokens <count>",
      "new tokens a clip at most; default: 32 and one per 60 ms of audio",
      natural,
    )
    .addOption(penaltyOption())
    .addOption(channelOption())
    .addOption(strictOption())
    .option("--word-times", "times of words, by the CTC head of a checkpoint that has one")
    .option("--json", "one JSON object per clip")
    .action(async (files: string[], _: unknown, command: Command) => {
      await transcribeFiles(files, command.optsWithGlobals<TranscribeCliOptions>());
    });
}

/** Transcribes or translates files, batch by batch, and prints the results. */
export async function transcribeFiles(
  files: readonly string[],
  options: TranscribeCliOptions,
): Promise<void> {
  if (!(await hasClip(files, options))) return;
  const model = await findModel(options.model);
  const { weights, lora, wordTimes } = options;
  await withDevice(async ({ gpu }) => {
    const { model: transcriber } = await timeLoading(gpu, (onProgress) =>
      loadTranscriber(gpu, model, { weights, lora, wordTimes, onProgress }),
    );
    warnOf(transcriber.warnings);
    const checkpoint = await openModel(model, lora);
    await warnOfOtherEncoder(checkpoint).finally(() => checkpoint.close());
    if (transcriber.promptFallback !== undefined) note(`prompt: FunASR's own; ${transcriber.promptFallback}`);
    if (!acceptsOptions(transcriber, options)) return;
    const unknown = languageWarning(options.language, transcriber.languages);
    if (unknown !== undefined) note(`warning: ${unknown}`);
    for (let i = 0; i < files.length; i += options.batch) {
      const batch = files.slice(i, i + options.batch);
      await transcribeBatch(transcriber, batch, options, { first: i + 1, total: files.length });
    }
  });
}

/** Whether a model is worth loading: one of the files is there. Where none is, each is reported. */
async function hasClip(files: readonly string[], { debug }: TranscribeCliOptions): Promise<boolean> {
  const errors: unknown[] = [];
  for (const file of files) {
    try {
      await findClip(file);
      return true;
    } catch (error) {
      errors.push(error);
    }
  }
  for (const [i, error] of errors.entries()) report(error, debug === true, files[i]);
  return false;
}

/** Whether the prompt can be built as asked; an option that no clip could have is wrong usage. */
function acceptsOptions(transcriber: Transcriber, options: TranscribeCliOptions): boolean {
  try {
    transcriber.checkPrompt(promptOptions(options));
    return true;
  } catch (error) {
    report(error, options.debug === true);
    if (error instanceof PromptError) process.exitCode = exitCode.wrongUsage;
    return false;
  }
}

/** Where a batch stands among all clips, its first counted from 1. */
interface Place {
  readonly first: number;
  readonly total: number;
}

interface ReadyClip extends PreparedClip {
  readonly file: string;
  /** The channel that was asked for, counted from 1. */
  readonly channel?: number;
  /** The file as lines of text name it: with its channel where each has a line. */
  readonly label: string;
  /** What is wrong with the audio; its words may be incomplete. */
  readonly warnings: readonly string[];
}

async function transcribeBatch(
  transcriber: Transcriber,
  files: readonly string[],
  options: TranscribeCliOptions,
  { first, total }: Place,
): Promise<void> {
  const clips: ReadyClip[] = [];
  for (const [i, file] of files.entries()) {
    try {
      status(`${place(first + i, 1, total)}reading ${file}`);
      clips.push(...(await readyClips(transcriber, file, options)));
    } catch (error) {
      report(error, options.debug === true, file);
    }
  }
  for (let i = 0; i < clips.length; i += options.batch)
    await transcribeClips(transcriber, clips.slice(i, i + options.batch), options, { first, total });
}

/** The clips of a file: one, or one of each channel. */
async function readyClips(
  transcriber: Transcriber,
  file: string,
  options: TranscribeCliOptions,
): Promise<ReadyClip[]> {
  const { channel, strict } = options;
  const maxSeconds = transcriber.maxSeconds(promptOptions(options));
  const keep = { rate: transcriber.sampleRate, channel };
  const chosen = chosenChannels(await decodeClip(file, { strict, maxSeconds, keep }), channel);
  return chosen.map(({ audio, ...part }) => {
    const label = channel === "each" ? `${shown(file)} [${part.label}]` : shown(file);
    const { warning, ...clip } = transcriber.prepare(audio, file);
    const warnings = [audio.damage, warning].filter((text) => text !== undefined);
    for (const text of warnings) note(`warning: ${label}: ${text}`);
    return { ...clip, file, ...part, label, warnings };
  });
}

/** "3/10: ", or "3-5/10: " for several; nothing where one clip is all there is. */
function place(first: number, clips: number, total: number): string {
  if (total === 1) return "";
  return `${first}${clips > 1 ? `-${first + clips - 1}` : ""}/${total}: `;
}

const stageNames = {
  encoder: "encoding",
  adaptor: "adapting",
  prefill: "reading the prompt of",
  decode: "writing the words of",
} as const;

/**
 * A batch that fails is run again clip by clip, so that a clip that cannot be transcribed costs no
 * other its result.
 */
async function transcribeClips(
  transcriber: Transcriber,
  clips: readonly ReadyClip[],
  options: TranscribeCliOptions,
  { first, total }: Place,
): Promise<void> {
  if (clips.length === 0) return;
  const named = total > 1 || options.channel === "each";
  const seconds = clips.reduce((sum, clip) => sum + clip.audioSeconds, 0).toFixed(1);
  const streaming = process.stdout.isTTY && clips.length === 1 && !named && !options.json;
  const { maxTokens: maxNewTokens, repetitionPenalty } = options;
  try {
    const run: TranscribeOptions = {
      maxNewTokens,
      repetitionPenalty,
      onStage: (stage) => {
        if (streaming && stage === "decode") status("");
        else status(`${place(first, clips.length, total)}${stageNames[stage]} ${seconds} s`);
      },
      onText: streaming ? (_, text) => printPart(text) : undefined,
    };
    const { to, cascade, language } = options;
    const results = await (to === undefined
      ? transcriber.transcribe(clips, { ...promptOptions(options), ...run })
      : translate(transcriber, clips, { ...run, to, cascade, language }));
    if (streaming) print("");
    for (const [i, result] of results.entries()) show(clips[i], result, options, { named, streaming });
  } catch (error) {
    if (clips.length === 1) report(error, options.debug === true, clips[0].file);
    else
      for (const [i, clip] of clips.entries())
        await transcribeClips(transcriber, [clip], options, { first: first + i, total });
  }
}

function promptOptions(options: TranscribeCliOptions): PromptOptions {
  const { to, cascade, language, hotwords, context, itn } = options;
  if (to !== undefined && !cascade) return { prompt: translationPrompt(to) };
  return { language, hotwords, context, itn };
}

function show(
  { file, channel, label, warnings, ...clip }: ReadyClip,
  result: Transcription,
  { json, to, language, maxTokens = defaultMaxNewTokens(clip) }: TranscribeCliOptions,
  { named, streaming }: { readonly named: boolean; readonly streaming: boolean },
): void {
  const strange =
    to === undefined ? scriptWarning(result.text, language) : translationWarning(result.text, to);
  if (strange !== undefined) note(`warning: ${label}: ${strange}`);
  const untimed = result.wordsFailure && `no times of words: ${result.wordsFailure}`;
  if (untimed !== undefined) note(`warning: ${label}: ${untimed}`);
  const all = [...warnings, strange, untimed].filter((text) => text !== undefined);
  const said = all.length > 0 && { warning: all.join("; "), warnings: all };
  if (json) printJson({ file, channel, ...result, ...said });
  else if (!streaming) {
    const text = result.text.replaceAll("\n", "\\u000a"); // a clip is a line
    print(named ? `${label}: ${text}`.trimEnd() : text);
    for (const word of result.words ?? [])
      print(`${word.start.toFixed(3)}\t${word.end.toFixed(3)}\t${word.text}`);
  }
  if (result.text === "" && to === undefined) note(`${label}: no speech was found`);
  if (result.finish === "length") {
    const { length } = result.tokenIds;
    const advice = length < maxTokens ? "the model's context is full" : "--max-tokens allows more";
    note(`${label}: cut at ${length} tokens; ${advice}`);
  }
  if (result.finish === "loop") note(`${label}: a repeating cycle was cut`);
}
