import { type Command, InvalidArgumentError, Option } from "commander";
import type { WeightFormat } from "../../gpu/matrix.js";
import { type LoraOptions, checkLora, loraTargets, parseLoraTargets } from "../../train/lora.js";
import {
  type AskedOptions,
  type TrainOptions,
  boundName,
  bounds,
  defaultOptions,
  isWithin,
} from "../../train/options.js";
import { type TunablePart, parseTune } from "../../train/tune.js";
import { loraOption, modelForms, weightsOption } from "../model.js";
import { number } from "../numbers.js";
import { exitCode } from "../output.js";
import { strictOption } from "../transcribe.js";
import { refuseIdle } from "../usage.js";

/** `train`'s options as commander gives them. */
export interface TrainCliOptions {
  readonly model?: string;
  readonly lora?: readonly string[];
  readonly data?: string;
  readonly validation?: string;
  readonly out?: string;
  readonly cache?: string;
  readonly tune: TunablePart[];
  readonly steps: number;
  readonly epochs?: number;
  readonly align: number;
  readonly alignLr: number;
  readonly lr: number;
  readonly warmup?: number;
  readonly schedule: TrainOptions["schedule"];
  readonly floor: number;
  readonly clip: number;
  readonly decay: number;
  readonly batchTokens: number;
  readonly accumulate: number;
  readonly labelSmoothing: number;
  readonly seed: number;
  readonly every: number;
  readonly decode: number;
  readonly loraRank?: number;
  readonly loraAlpha?: number;
  readonly loraDropout?: number;
  readonly loraTargets?: NonNullable<LoraOptions["targets"]>;
  readonly merge?: boolean;
  readonly dtype?: "bf16" | "f32";
  readonly weights?: WeightFormat;
  readonly skipBad?: boolean;
  readonly strict?: boolean;
  readonly resume?: boolean;
  readonly export?: "best" | "last";
  readonly report?: string;
  readonly plan?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

const anyNumber = number("a number");

/** A parser of numbers within the bounds of this option. */
function bounded(name: keyof typeof bounds): (text: string) => number {
  return (text) => {
    const value = anyNumber(text);
    if (!isWithin(value, bounds[name]))
      throw new InvalidArgumentError(`Expected ${boundName(bounds[name])}.`);
    return value;
  };
}

/** A parser whose refusals are wrong usage. */
function parsed<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}

/** A parser of one of the LoRA's numbers. */
function lora(name: "rank" | "alpha" | "dropout"): (text: string) => number {
  return parsed((text) => {
    const value = anyNumber(text);
    checkLora({ [name]: value });
    return value;
  });
}

const d = defaultOptions;

/** Adds the options to the command. */
export function addTrainOptions(command: Command): Command {
  return addOtherOptions(addBatchOptions(addStepOptions(addFiles(command))));
}

/** Options of model, data and trained parts. */
function addFiles(command: Command): Command {
  return command
    .option("--model <model>", `the model to train: ${modelForms}`)
    .addOption(
      loraOption("LoRA to merge into the model before it is trained: as for transcribe; may be repeated"),
    )
    .option("--data <file>", "utterances to learn, JSONL")
    .option("--validation <file>", "utterances to validate on, JSONL")
    .option("--out <directory>", "directory of the run")
    .option(
      "--cache <directory>",
      "where the encoder's outputs are kept; default: cache in the run's directory",
    )
    .addOption(
      new Option("--tune <parts>", "adaptor, lora, encoder, separated by commas")
        .argParser(parsed(parseTune))
        .default(["adaptor"], "adaptor"),
    );
}

/** Options of the steps and their learning rates. */
function addStepOptions(command: Command): Command {
  return command
    .option("--steps <count>", "optimiser steps", bounded("steps"), d.steps)
    .addOption(
      new Option("--epochs <count>", "instead of --steps: passes over the data, after the steps of --align")
        .argParser(bounded("epochs"))
        .conflicts("steps"),
    )
    .option(
      "--align <steps>",
      "first steps that, without the LLM, pull the adaptor's outputs to the token embeddings of the transcripts",
      bounded("align"),
      d.align,
    )
    .option(
      "--align-lr <rate>",
      "highest learning rate of the steps of --align",
      bounded("alignRate"),
      d.alignRate,
    )
    .option(
      "--lr <rate>",
      "highest learning rate of the steps after --align",
      bounded("learningRate"),
      d.learningRate,
    )
    .option(
      "--warmup <steps>",
      "steps until --lr is reached, counted from the end of --align; default: a tenth of the steps after it",
      bounded("warmup"),
    )
    .addOption(
      new Option("--schedule <shape>", "learning rate after the warm-up")
        .choices(["cosine", "constant"])
        .default(d.schedule),
    )
    .option(
      "--floor <share>",
      "share of the highest rate at which the cosine ends",
      bounded("floor"),
      d.floor,
    )
    .option("--clip <norm>", "scale gradients down to this norm; 0: never", bounded("clip"), d.clip)
    .option("--decay <rate>", "decoupled weight decay", bounded("decay"), d.decay);
}

/** Options of the batches and the validation. */
function addBatchOptions(command: Command): Command {
  return command
    .option("--batch-tokens <count>", "most tokens of a micro-batch", bounded("batchTokens"), d.batchTokens)
    .option("--accumulate <count>", "micro-batches of an optimiser step", bounded("accumulate"), d.accumulate)
    .option(
      "--label-smoothing <share>",
      "share of a label that is spread over the vocabulary",
      bounded("labelSmoothing"),
      d.labelSmoothing,
    )
    .option(
      "--seed <number>",
      "seed of the order of the data, of dropout and of a LoRA's initial values",
      bounded("seed"),
      d.seed,
    )
    .option(
      "--every <steps>",
      "steps between two validations, each followed by a saved state",
      bounded("every"),
      d.every,
    )
    .option("--decode <clips>", "validation clips that are decoded", bounded("decode"), d.decode);
}

/** Options of the LoRA, of storage, and of actions other than training. */
function addOtherOptions(command: Command): Command {
  return command
    .option("--lora-rank <rank>", "rank of the LoRA, from 1; default: 16", lora("rank"))
    .option(
      "--lora-alpha <alpha>",
      "the LoRA is scaled by alpha / rank; default: twice the rank",
      lora("alpha"),
    )
    .option("--lora-dropout <share>", "dropout of the LoRA; default: 0", lora("dropout"))
    .option(
      "--lora-targets <names>",
      `projections with a LoRA, of ${loraTargets.join(", ")}; default: q_proj,v_proj`,
      parsed(parseLoraTargets),
    )
    .option(
      "--merge",
      "write a whole checkpoint with the LoRA merged into its weights; else the LoRA is written alone",
    )
    .addOption(
      new Option(
        "--dtype <type>",
        "type of the trained tensors in the checkpoint that is written; default: as in the model",
      ).choices(["bf16", "f32"]),
    )
    .addOption(weightsOption("storage of the frozen weights on the GPU; default: as in the checkpoint"))
    .option("--skip-bad", "leave out lines that cannot be used")
    .addOption(strictOption())
    .option("--resume", "go on from the run's saved state")
    .addOption(
      new Option("--export <state>", "only write the checkpoint of a run's saved state").choices([
        "best",
        "last",
      ]),
    )
    .option("--report <directory>", "only draw the report of the run in this directory")
    .option("--plan", "only print the memory and time that the training would take")
    .option("--json", "one JSON object");
}

/** The run's options. */
export function trainOptions(cli: TrainCliOptions): AskedOptions {
  const {
    steps,
    epochs,
    align,
    warmup,
    schedule,
    floor,
    clip,
    decay,
    batchTokens,
    accumulate,
    labelSmoothing,
    seed,
    every,
    decode,
  } = cli;
  return {
    ...defaultOptions,
    steps,
    epochs,
    align,
    alignRate: cli.alignLr,
    learningRate: cli.lr,
    warmup,
    schedule,
    floor,
    clip,
    decay,
    batchTokens,
    accumulate,
    labelSmoothing,
    seed,
    every,
    decode,
  };
}

/** The LoRA's options. */
export function loraOptions(cli: TrainCliOptions): LoraOptions {
  return {
    ...(cli.loraRank === undefined ? {} : { rank: cli.loraRank }),
    ...(cli.loraAlpha === undefined ? {} : { alpha: cli.loraAlpha }),
    ...(cli.loraDropout === undefined ? {} : { dropout: cli.loraDropout }),
    ...(cli.loraTargets === undefined ? {} : { targets: cli.loraTargets }),
    seed: cli.seed,
  };
}

/** Ends with wrong usage if an option that was given has no effect. */
export function checkUsage(command: Command, cli: TrainCliOptions): void {
  const given = command.options
    .map((option) => option.attributeName())
    .filter((name) => command.getOptionValueSource(name) === "cli");
  const others = (...used: string[]): string[] => given.filter((name) => !used.includes(name));
  const shared = ["json", "debug"];
  const running = "a training that runs";
  refuseIdle(command, [
    {
      options: others("report", ...shared),
      met: cli.report === undefined,
      needs: `${running}, not --report`,
    },
    {
      options: others("export", "model", "lora", "out", "dtype", "merge", ...shared),
      met: cli.export === undefined,
      needs: `${running}, not --export`,
    },
    { options: ["resume", "merge", "dtype", "lora"], met: !cli.plan, needs: `${running}, not --plan` },
    {
      options: ["loraRank", "loraAlpha", "loraDropout", "loraTargets"],
      met: cli.tune.includes("lora"),
      needs: "--tune lora",
    },
    {
      options: ["merge"],
      met: cli.tune.includes("lora") || cli.export !== undefined,
      needs: "--tune lora or --export",
    },
    { options: ["alignLr"], met: cli.align > 0, needs: "--align" },
  ]);
  if (cli.epochs === undefined && cli.align > cli.steps)
    command.error(`error: option '--align' is at most the ${cli.steps} of --steps, got ${cli.align}`, {
      exitCode: exitCode.wrongUsage,
    });
}
