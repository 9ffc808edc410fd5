import { resolve } from "node:path";
import { stat } from "node:fs/promises";
import { Command, Option } from "commander";
import { modelIdentity } from "../../corpus/plan/model-identity.js";
import { PLAN_DEFAULTS, planCorpus } from "../../corpus/plan/plan.js";
import type { CorpusOptions, Manifest, PlannedFiles } from "../../corpus/manifest.js";
import { RECORDING_DEFAULTS } from "../../decode/segments/transcribe-recording.js";
import { MOST_SILENCE_MS } from "../../decode/vad/segmenter.js";
import type { WeightFormat } from "../../gpu/matrix.js";
import { demoModel, vadModel } from "../../node/demo.js";
import { count } from "../../report/text.js";
import type { Language } from "../../tokenizer/languages.js";
import { oneChannelOption } from "../channel.js";
import { languageOption } from "../language.js";
import { findModel, loraOption, modelForms, weightsOption } from "../model.js";
import { wordList } from "../transcribe-options.js";
import { natural, number, positive, whole } from "../numbers.js";
import { note, print, printJson, setOutput, shown, status } from "../output.js";
import { penaltyOption, strictOption } from "../transcribe.js";
import { vadOption } from "../vad-model.js";
import { version } from "../version.js";

interface PlanCliOptions {
  readonly out: string;
  readonly model: string;
  readonly lora?: readonly string[];
  readonly vad: string;
  readonly shardSeconds: number;
  readonly cut: number;
  readonly limit?: number;
  readonly language?: Language;
  readonly hotwords?: readonly string[];
  readonly context?: string;
  readonly itn: boolean;
  readonly weights?: WeightFormat;
  readonly channel?: number;
  readonly strict?: boolean;
  readonly mergeSeconds?: number;
  readonly maxEndSilence: number;
  readonly maxTokens?: number;
  readonly repetitionPenalty?: number;
  readonly wordTimes?: boolean;
  readonly json?: boolean;
}

export function planCommand(): Command {
  return new Command("plan")
    .description("cut a corpus into shards of about an hour, by the lengths in its lines or headers")
    .argument(
      "<input...>",
      "JSONL of {audio, duration?, text?, start?, end?, channel?}, of NeMo or FunASR; wav.scp; WebDataset tars; or a directory of these or of audio files",
    )
    .requiredOption("--out <directory>", "directory of the corpus, new or empty")
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .addOption(loraOption())
    .addOption(weightsOption())
    .addOption(vadOption())
    .option("--shard-seconds <seconds>", "audio of a shard", positive, PLAN_DEFAULTS.shardSeconds)
    .option(
      "--cut <seconds>",
      "longer files are cut at every so many seconds; the results stay those of the whole file",
      number("seconds from 1", (value) => value >= 1),
      PLAN_DEFAULTS.cutSeconds,
    )
    .option("--limit <count>", "most utterances", natural)
    .addOption(languageOption("spoken language; default: the model detects it, less reliably"))
    .option("--hotwords <words>", "words to expect, separated by commas", wordList)
    .option("--context <text>", "what the clips are about")
    .option("--no-itn", "write numbers as spoken (no inverse text normalisation)")
    .addOption(oneChannelOption())
    .addOption(strictOption())
    .option(
      "--merge-seconds <seconds>",
      "neighbouring segments of a long clip are joined up to this length; default: as transcribe",
      number("seconds from 0", (value) => value >= 0),
    )
    .option(
      "--max-end-silence <ms>",
      "silence that ends a segment of a long clip",
      whole(0, MOST_SILENCE_MS),
      RECORDING_DEFAULTS.maxEndSilenceMs,
    )
    .option("--max-tokens <count>", "most new tokens per segment; default: as transcribe", natural)
    .addOption(penaltyOption())
    .option("--word-times", "results have the times of words, where the checkpoint has a CTC head")
    .option("--json", "the plan as a JSON object")
    .action(async (inputs: string[], _: unknown, command: Command) => {
      const options = command.optsWithGlobals<PlanCliOptions>();
      setOutput(options);
      await plan(inputs, options);
    });
}

async function plan(inputs: readonly string[], options: PlanCliOptions): Promise<void> {
  const { out, shardSeconds, cut, limit } = options;
  const { manifest, existed } = await planCorpus({
    inputs,
    out,
    version,
    model: await planned(options.model),
    lora: await Promise.all((options.lora ?? []).map(planned)),
    vad: await planned(options.vad),
    options: optionsOf(options),
    shardSeconds,
    cutSeconds: cut,
    ...(limit !== undefined && { limit }),
    onSkip: (place, why) => note(`skipped: ${place}: ${why}`),
    onProgress: (utterances, seconds) => status(`${count(utterances)} utterances, ${hours(seconds)} h`),
  });
  if (options.json) {
    printJson({ out, existed, ...manifest });
    return;
  }
  if (existed) note(`${shown(out)}: the same plan is there`);
  print(`${shown(out)}: ${summary(manifest)}`);
}

function summary({ utterances, seconds, unknown, skipped, shards, id }: Manifest): string {
  const unmeasured = unknown > 0 ? ` and ${count(unknown)} of unknown length` : "";
  const left = skipped > 0 ? `; ${count(skipped)} skipped` : "";
  return `${count(utterances)} utterances, ${hours(seconds)} h${unmeasured}, in ${count(shards)} shards${left}; plan ${id.slice(0, 12)}`;
}

function hours(seconds: number): string {
  return (seconds / 3600).toFixed(2);
}

/** Names of models of this package, which lie elsewhere on each machine. */
const packaged = { demo: demoModel, vad: vadModel } as const;

/** A model as the plan has it. */
async function planned(model: string): Promise<PlannedFiles> {
  const path = await findModel(model);
  const own = Object.entries(packaged).find(([, directory]) => directory === path)?.[0];
  const there = await stat(model).then(
    () => true,
    () => false,
  );
  return { name: own ?? (there ? resolve(model) : model), sha256: await modelIdentity(path) };
}

/** Where a planned model is on this machine, before it is looked for. */
export function plannedModel({ name }: PlannedFiles): string {
  return name === "demo" || name === "vad" ? packaged[name] : name;
}

function optionsOf(options: PlanCliOptions): CorpusOptions {
  const { language, hotwords, context, itn, weights, channel, strict, wordTimes } = options;
  const { mergeSeconds, maxEndSilence, maxTokens, repetitionPenalty } = options;
  const chosen = { language, hotwords, context, weights, channel, strict, wordTimes };
  const cuts = { mergeSeconds, maxEndSilence, maxTokens, repetitionPenalty, itn: itn ? undefined : false };
  const all = Object.entries({ ...chosen, ...cuts }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(all);
}
