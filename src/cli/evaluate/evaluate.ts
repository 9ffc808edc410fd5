import { resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { oneChannelOption } from "../channel.js";
import { adapterName, withDevice } from "../device.js";
import { compareFiles } from "../evaluate-compare.js";
import { type ReadData, isStm, readData } from "./data.js";
import { type Identity, Results, fileSha256 } from "../../evaluate/results.js";
import { reportText } from "../../evaluate/tables.js";
import type { BleuTokenizer } from "../../evaluate/metrics/bleu-tokenizers.js";
import type { FunasrError } from "../../errors.js";
import { EvaluateError } from "../../evaluate/metrics/edits.js";
import { type Normalizer, type TextForm, normalizersOf, textForm } from "../../evaluate/metrics/text-form.js";
import type { EvaluationReport } from "../../evaluate/report.js";
import type { RecordingSettings } from "../../evaluate/recordings/run-recording.js";
import type { RunSettings } from "../../evaluate/run.js";
import { RECORDING_DEFAULTS } from "../../decode/segments/transcribe-recording.js";
import type { WeightFormat } from "../../gpu/matrix.js";
import { demoModel } from "../../node/demo.js";
import { type OpenedDevice } from "../../node/device.js";
import { type FormatRun, playable, runFormats } from "./run.js";
import { evaluateHypotheses } from "./hypotheses.js";
import { languageOption } from "../language.js";
import {
  baseOption,
  findModel,
  loraOption,
  modelForms,
  openModel,
  warnOfOtherEncoder,
  weightFormats,
} from "../model.js";
import { natural, whole } from "../numbers.js";
import { note, print, printJson, report } from "../output.js";
import { batchOption, longConditions, longOptions } from "../transcribe-options.js";
import { strictOption } from "../transcribe.js";
import { refuseIdle } from "../usage.js";
import { findVad } from "../vad-model.js";

interface EvaluateCliOptions extends Omit<RunSettings, "maxNewTokens" | "batch"> {
  readonly model: string;
  readonly base?: string;
  readonly lora?: readonly string[];
  readonly data?: string;
  /** Directory of an STM's recordings. */
  readonly audio?: string;
  readonly vad?: string;
  readonly mergeSeconds?: number;
  readonly maxEndSilence: number;
  readonly batchTokens: number;
  /** Default: 1 clip, and as many segments of a long one as `batchTokens` allow. */
  readonly batch?: number;
  readonly compare?: readonly string[];
  /** Texts that are scored, without a model. */
  readonly hypotheses?: string;
  readonly tokenizer?: BleuTokenizer;
  readonly normalize?: readonly Normalizer[];
  readonly weights?: readonly WeightFormat[];
  readonly maxTokens?: number;
  readonly limit?: number;
  readonly out?: string;
  readonly second: number;
  readonly seed: number;
  readonly channel?: number;
  readonly strict?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

function formats(text: string): WeightFormat[] {
  const names = text.split(",");
  const known = names.every((name) => weightFormats.some((format) => format === name));
  if (!known || new Set(names).size < names.length)
    throw new InvalidArgumentError(`Expected ${weightFormats.join(", ")}, each once.`);
  return names as WeightFormat[];
}

function normalizers(text: string): Normalizer[] {
  try {
    return normalizersOf(text);
  } catch (error) {
    throw error instanceof EvaluateError ? new InvalidArgumentError(`${error.message}.`) : error;
  }
}

/** The command, its model, data and what runs together. */
function inputOptions(): Command {
  return new Command("evaluate")
    .description(
      "measure error rates or translation scores, latency and memory of a checkpoint over utterances",
    )
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .addOption(baseOption())
    .addOption(loraOption())
    .option(
      "--data <path>",
      "JSONL of {audio, text, prompt?, start?, end?, channel?, segments?, ignore?}, of NeMo's manifests or of FunASR's conversations, an STM file, or a directory with wav.scp and text",
    )
    .option("--audio <dir>", "directory of an STM's recordings; default: where the STM is")
    .addOption(
      new Option("--task <task>", "recognition or speech translation").choices(["asr", "st"]).default("asr"),
    )
    .addOption(new Option("--to <code>", "st: language of the answers").choices(["en", "zh"]))
    .option("--cascade", "st: transcribe, then have the same language model translate the text")
    .addOption(languageOption("language that is spoken; a line's own prompt wins"))
    .option(
      "--weights <formats>",
      "storage of the weights on the GPU; several, such as bf16,q8,q4, run in turn; default: as in the checkpoint",
      formats,
    )
    .addOption(batchOption());
}

export function evaluateCommand(): Command {
  return longOptions(inputOptions())
    .option("--max-tokens <count>", "most new tokens per clip", natural)
    .option("--limit <count>", "most utterances", natural)
    .option("--agreement", "how well agreement with the CTC head's text finds wrong answers")
    .option("--forced", "score the references under forced decoding too")
    .addOption(
      new Option("--tokenizer <name>", "tokenizer of BLEU; default: zh for Chinese, else 13a").choices([
        "13a",
        "zh",
        "char",
        "intl",
      ]),
    )
    .option(
      "--normalize <names>",
      "normalise texts before they are compared: whisper (English), chinese (numbers, width), simplified (from traditional); several separated by commas, or none",
      normalizers,
    )
    .option("--second <rounds>", "rounds of timing on one second of audio; 0: none", whole(0), 5)
    .option("--seed <number>", "seed of the bootstrap's resamples", whole(0), 12_345)
    .option(
      "--out <dir>",
      "directory of the results: one per utterance, report.json, report.html; an interrupted run goes on",
    )
    .option(
      "--compare <files...>",
      "compare two utterances-*.jsonl of --out, without a model: difference, interval, p",
    )
    .option(
      "--hypotheses <file>",
      "score these texts, without a model: JSONL of corpus merge or of {audio, text}; references of --data, or of its lines",
    )
    .addOption(oneChannelOption())
    .addOption(strictOption())
    .option("--json", "one JSON object per weight format, or the comparison")
    .action(async (_: unknown, command: Command) => {
      const options = command.optsWithGlobals<EvaluateCliOptions>();
      checkUsage(command, options);
      const { compare: files, hypotheses } = options;
      if (hypotheses !== undefined) await evaluateHypotheses(hypotheses, options);
      else await (files ? compareFiles(files, options) : evaluate(options));
    });
}

/** Ends with wrong usage if options do not fit together, or one has no effect. */
function checkUsage(command: Command, options: EvaluateCliOptions): void {
  const wrong = wrongUsage(options);
  if (wrong !== undefined) command.error(`error: ${wrong}`, { exitCode: 2 });
  const { compare: files, task, hypotheses } = options;
  const given = [
    "model",
    "out",
    "weights",
    "batch",
    "forced",
    "language",
    "channel",
    "strict",
    "lora",
    "vad",
    "mergeSeconds",
    "maxEndSilence",
    "batchTokens",
    "compare",
    "cascade",
  ];
  const running = [
    "data",
    "out",
    "weights",
    "batch",
    "limit",
    "forced",
    "agreement",
    "language",
    "channel",
    "strict",
    "lora",
    "vad",
    "mergeSeconds",
    "maxEndSilence",
    "batchTokens",
  ];
  refuseIdle(command, [
    { options: running, met: !files, needs: "a model that runs, not --compare" },
    { options: given, met: hypotheses === undefined, needs: "a model that runs, not --hypotheses" },
    ...longConditions({ vad: options.vad }),
    { options: ["audio"], met: options.data !== undefined && isStm(options.data), needs: "--data FILE.stm" },
    { options: ["normalize"], met: task === "asr", needs: "--task asr" },
    { options: ["tokenizer"], met: task === "st" || files !== undefined, needs: "--task st or --compare" },
  ]);
}

function wrongUsage(options: EvaluateCliOptions): string | undefined {
  const { compare: files, data, task, to, cascade, second } = options;
  if (files) return files.length === 2 ? undefined : "--compare takes two files";
  if (options.hypotheses === undefined && data === undefined && second === 0) return "--data is missing";
  if (task === "st" && to === undefined) return "--task st needs --to en or --to zh";
  if (task === "asr" && (to !== undefined || cascade)) return "--to and --cascade need --task st";
  return undefined;
}

async function evaluate(options: EvaluateCliOptions): Promise<void> {
  if (options.data === undefined)
    note("no --data: latency on one second of noise; give --data for error rates");
  const onBad = (error: FunasrError, place: string): void => report(error, options.debug === true, place);
  const data: ReadData | undefined =
    options.data === undefined
      ? undefined
      : await readData(options.data, { onBad, onNote: note }, options.limit, options.audio);
  const vad = options.vad === "off" ? "off" : await findVad(options);
  if (vad === false) return;
  const model = await findModel(options.model, options.base);
  const checkpoint = await openModel(model, options.lora);
  await warnOfOtherEncoder(checkpoint).finally(() => checkpoint.close());
  const settings = settingsOf(options);
  const identity: Identity = {
    model: options.model,
    ...(options.base ? { base: options.base } : {}),
    ...(options.lora ? { lora: options.lora.join() } : {}),
    ...(options.channel ? { channel: options.channel } : {}),
    ...cuttingOf(options),
    data: options.data === undefined ? null : resolve(options.data),
    dataSha256:
      options.data !== undefined && /\.(?:jsonl|stm)$/iu.test(options.data) ? fileSha256(options.data) : null,
    ...Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, value ?? null])),
  };
  await Results.use(options.out, identity, (results) =>
    withDevice(async (device) => {
      const weights: (WeightFormat | undefined)[] = [...(options.weights ?? [undefined])];
      const form = await textForm(options.normalize ?? []);
      const recordings = recordingsOf(options);
      const utterances = data?.utterances ?? [];
      const plan = { ...options, settings, recordings, vad, form, model, utterances };
      const runs = await runFormats(device.gpu, weights, plan, results);
      await printAll(options, runs, results, { device, form, badLines: data?.bad ?? 0 });
    }),
  );
}

/** How recordings are cut and run, as asked. */
function recordingsOf(options: EvaluateCliOptions): RecordingSettings {
  const { mergeSeconds, maxEndSilence, batchTokens, batch } = options;
  const mergeMs = mergeSeconds === undefined ? undefined : 1000 * mergeSeconds;
  return { mergeMs, maxEndSilenceMs: maxEndSilence, batchTokens, batch };
}

/** What decides how recordings are cut, where it is not the default. */
function cuttingOf({ audio, vad, mergeSeconds, maxEndSilence }: EvaluateCliOptions): Identity {
  return {
    ...(audio !== undefined && { audio: resolve(audio) }),
    ...(vad !== undefined && { vad }),
    ...(mergeSeconds !== undefined && { mergeSeconds }),
    ...(maxEndSilence !== RECORDING_DEFAULTS.maxEndSilenceMs && { maxEndSilence }),
  };
}

function settingsOf(options: EvaluateCliOptions): RunSettings {
  const { task, to, cascade, language, batch = 1, maxTokens, forced, agreement } = options;
  return { task, to, cascade, language, batch, maxNewTokens: maxTokens, forced, agreement };
}

async function printAll(
  options: EvaluateCliOptions,
  runs: readonly FormatRun[],
  results: Results,
  {
    device,
    form,
    badLines,
  }: { readonly device: OpenedDevice; readonly form: TextForm; readonly badLines: number },
): Promise<void> {
  const whole: EvaluationReport = {
    model: [options.model, ...(options.lora ?? [])].join(" with "),
    data: options.data ?? null,
    device: adapterName(device.adapter).trim(),
    settings: {
      ...settingsOf(options),
      ...cuttingOf(options),
      tokenizer: options.tokenizer,
      normalize: options.normalize ?? [],
    },
    badLines,
    results: runs.map(({ result }) => result),
  };
  if (options.json) for (const result of whole.results) printJson(result);
  else print(reportText(whole));
  if (options.out === undefined) return;
  await results.write("report.json", `${JSON.stringify(whole, null, 1)}\n`);
  const all = runs.map(({ result: { weights }, records }) => ({ weights, records: [...records.values()] }));
  const { reportPage } = await import("../../evaluate/page.js"); // its charts take a while to load
  note(
    `written: ${await results.write("report.html", await reportPage(whole, all, { play: playable, form }))}`,
  );
}
