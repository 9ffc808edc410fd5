import { Command, Option } from "commander";
import type { TranscribeOptions, Transcription } from "../decode/transcriber.js";
import { defaultMaxNewTokens } from "../decode/answer-limit.js";
import { flatText } from "../decode/subtitles/formats.js";
import type { SegmentFile } from "../decode/segments/segment-file.js";
import type { VoiceActivityDetector } from "../decode/vad/detector.js";
import { findClip } from "../node/clip.js";
import { demoModel, vadModel } from "../node/demo.js";
import { audioForms } from "./audio-forms.js";
import { channelOption } from "./channel.js";
import { withDevice } from "./device.js";
import { type ReadyClip, type Session, hear, promptOptions, runClips, strangeText } from "./hear.js";
import { languageOption } from "./language.js";
import { baseOption, findModel, loraOption, modelForms, weightsOption } from "./model.js";
import { natural, positive } from "./numbers.js";
import { note, print, printPart, report, setOutput, shown, status } from "./output.js";
import {
  type TranscribeCliOptions,
  batchOption,
  longConditions,
  longOptions,
  wordList,
} from "./transcribe-options.js";
import {
  addTranscriptFileOptions,
  checkTranscriptUsage,
  deliver,
  deliverReport,
  isPlain,
  prepareOutputs,
} from "./transcript-files.js";
import { readSegments } from "./given-segments.js";
import { openTranscriber } from "./open-transcriber.js";
import { checkStreamUsage, streamFiles } from "./listen/stream-files.js";
import { refuseIdle } from "./usage.js";
import { findVad, loadVad } from "./vad-model.js";

/** The option --repetition-penalty of commands that transcribe or translate. */
export function penaltyOption(): Option {
  return new Option(
    "--repetition-penalty <number>",
    "divide the scores of tokens already in an answer by this",
  ).argParser(positive);
}

/** The option --strict of commands that decode audio. */
export function strictOption(): Option {
  return new Option("--strict", "refuse audio that is cut short or damaged, instead of a warning");
}

export function transcribeCommand(): Command {
  return addTranscriptFileOptions(longOptions(new Command("transcribe")))
    .description("print the words spoken in each clip")
    .argument("<audio...>", `clips: ${audioForms}`)
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .addOption(baseOption())
    .addOption(loraOption())
    .addOption(languageOption("spoken language; default: the model detects it, less reliably"))
    .option("--hotwords <words>", "words to expect, separated by commas", wordList)
    .option("--context <text>", "what the clip is about")
    .option("--no-itn", "write numbers as spoken (no inverse text normalisation)")
    .addOption(weightsOption())
    .addOption(batchOption())
    .option(
      "--max-tokens <count>",
      "most new tokens per clip; default: 32 and one per 60 ms of audio",
      natural,
    )
    .addOption(penaltyOption())
    .addOption(channelOption())
    .addOption(strictOption())
    .option("--segments <file>", "transcribe these segments: RTTM, or JSON as --json and vad print it")
    .option(
      "--stream",
      "print the text while it comes, as `listen` prints that of live speech; with --json an object per event",
    )
    .option("--json", "one JSON object per clip")
    .action(async (files: string[], _: unknown, command: Command) => {
      const options = command.optsWithGlobals<TranscribeCliOptions>();
      if (options.stream) {
        checkStreamUsage(command, options);
        setOutput(options);
        await streamFiles(files, options);
        return;
      }
      refuseIdle(command, longConditions(options));
      checkTranscriptUsage(command, files, options);
      const json = options.json === true || (options.format === "json" && options.outputDir === undefined);
      setOutput({ ...options, json });
      const given = await readSegments(files, options);
      if (given === false) return;
      await transcribeFiles(await prepareOutputs(files, options), { ...options, json }, given);
    });
}

/** Transcribes or translates files, batch by batch, and prints the results. */
export async function transcribeFiles(
  files: readonly string[],
  options: TranscribeCliOptions,
  given?: SegmentFile,
): Promise<void> {
  if (files.length === 0 || !(await hasClip(files, options))) return;
  const vad = await findVad(options);
  if (vad === false) return;
  const model = await findModel(options.model, options.base);
  const { weights, lora, to } = options;
  const wordTimes = options.wordTimes ?? (to === undefined && "optional"); // checks segments of long clips
  await withDevice(async ({ gpu }) => {
    const loading = { weights, lora, wordTimes } as const;
    const transcriber = await openTranscriber(gpu, model, loading, promptOptions(options), options.debug);
    if (!transcriber) return;
    const { batch = 1 } = options;
    let detector: Promise<VoiceActivityDetector> | undefined;
    const session: Session = {
      transcriber,
      options,
      detector: () => (detector ??= loadVad(gpu, vad)),
      given,
      models: [model, ...(lora ?? []), vad ?? vadModel],
    };
    for (let i = 0; i < files.length; i += batch)
      await transcribeBatch(session, files.slice(i, i + batch), { first: i + 1, total: files.length });
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

/** Where a batch stands among all clips, its first counted from 1. */
interface Place {
  readonly first: number;
  readonly total: number;
}

async function transcribeBatch(session: Session, files: readonly string[], at: Place): Promise<void> {
  const { options } = session;
  const { batch = 1, debug } = options;
  const clips: ReadyClip[] = [];
  const flush = async (): Promise<void> => {
    while (clips.length > 0) await transcribeClips(session, clips.splice(0, batch), at);
  };
  for (const [i, file] of files.entries()) {
    try {
      status(`${place(at.first + i, 1, at.total)}reading ${file}`);
      const named = at.total > 1 || options.channel === "each";
      await hear(session, { file, label: shown(file), named }, (clip) => clips.push(clip), flush);
    } catch (error) {
      report(error, debug === true, file);
    }
  }
  await flush();
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
  session: Session,
  clips: readonly ReadyClip[],
  { first, total }: Place,
): Promise<void> {
  const { transcriber, options } = session;
  if (clips.length === 0) return;
  const named = total > 1 || options.channel === "each";
  const seconds = clips.reduce((sum, clip) => sum + clip.audioSeconds, 0).toFixed(1);
  const streaming = process.stdout.isTTY && clips.length === 1 && !named && isPlain(options);
  try {
    const run: TranscribeOptions = {
      onStage: (stage) => {
        if (streaming && stage === "decode") status("");
        else status(`${place(first, clips.length, total)}${stageNames[stage]} ${seconds} s`);
      },
      onText: streaming ? (_, text) => printPart(text) : undefined,
    };
    const results = await runClips(transcriber, clips, options, run);
    if (streaming) print("");
    for (const [i, result] of results.entries())
      await show(clips[i], result, session, { named, streaming }).catch((error: unknown) =>
        report(error, options.debug === true, clips[i].file),
      );
  } catch (error) {
    if (clips.length === 1) report(error, options.debug === true, clips[0].file);
    else
      for (const [i, clip] of clips.entries())
        await transcribeClips(session, [clip], { first: first + i, total });
  }
}

async function show(
  { file, channel, label, warnings, ...clip }: ReadyClip,
  result: Transcription,
  session: Session,
  { named, streaming }: { readonly named: boolean; readonly streaming: boolean },
): Promise<void> {
  const { options } = session;
  const { to, language, maxTokens = defaultMaxNewTokens(clip) } = options;
  const strange = strangeText(result.text, { to, language });
  if (strange !== undefined) note(`warning: ${label}: ${strange}`);
  const untimed = result.wordsFailure && `no times of words: ${result.wordsFailure}`;
  if (untimed !== undefined) note(`warning: ${label}: ${untimed}`);
  const all = [...warnings, strange, untimed].filter((text) => text !== undefined);
  const said = all.length > 0 && { warning: all.join("; "), warnings: all };
  const { finish, audioSeconds, words } = result;
  const segments = [
    { start: 0, end: audioSeconds, text: result.text, words, finish, agreement: result.agreement },
  ];
  const object = { file, channel, ...result, segments, ...said };
  const transcript = { file, channel, segments, object };
  await deliver(transcript, options);
  if (isPlain(options) && !streaming) {
    const text = flatText(result.text); // a clip is a line
    print(named ? `${label}: ${text}`.trimEnd() : text);
    for (const word of result.words ?? [])
      print(`${word.start.toFixed(3)}\t${word.end.toFixed(3)}\t${word.text}`);
  }
  if (result.text === "" && to === undefined)
    note(`${label}: the model wrote no text; --vad MODEL cuts the clip at its pauses`);
  if (result.finish === "length") {
    const { length } = result.tokenIds;
    const advice = length < maxTokens ? "the model's context is full" : "--max-tokens allows more";
    note(`${label}: cut at ${length} tokens; ${advice}`);
  }
  if (result.finish === "loop") note(`${label}: a repeating cycle was cut`);
  await deliverReport(transcript, session);
}
