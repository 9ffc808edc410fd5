import { type Command, InvalidArgumentError, Option } from "commander";
import type { WeightFormat } from "../gpu/matrix.js";
import { weightBlocks } from "../gpu/matrix.js";
import { type LoraOptions, loraTargets, parseLoraTargets } from "../train/lora.js";
import { type AskedOptions, type TrainOptions, defaultOptions } from "../train/options.js";
import { type TunablePart, parseTune } from "../train/tune.js";
import { modelForms } from "./model.js";

/** `train`'s options as commander gives them. */
export interface TrainCliOptions {
  readonly model?: string;
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
  readonly resume?: boolean;
  readonly export?: "best" | "last";
  readonly report?: string;
  readonly plan?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("Expected a number.");
  return value;
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

const d = defaultOptions;

/** Adds the options to the command. */
export function addTrainOptions(command: Command): Command {
  return addOtherOptions(addRunOptions(addFiles(command)));
}

/** What is trained on what. */
function addFiles(command: Command): Command {
  return command
    .option("--model <model>", `the model to train: ${modelForms}`)
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

/** How the run goes. */
function addRunOptions(command: Command): Command {
  return command
    .option("--steps <count>", "optimiser steps", number, d.steps)
    .addOption(
      new Option("--epochs <count>", "instead of --steps: passes over the data, after the steps of --align")
        .argParser(number)
        .conflicts("steps"),
    )
    .option(
      "--align <steps>",
      "the first of the steps: without the LLM, pull the adaptor's outputs to the token embeddings of the transcripts",
      number,
      d.align,
    )
    .option("--align-lr <rate>", "highest learning rate of these", number, d.alignRate)
    .option("--lr <rate>", "highest learning rate of the others", number, d.learningRate)
    .option(
      "--warmup <steps>",
      "steps over which --lr is reached, counted after those of --align, whose own rate is reached in a tenth of them; default: a tenth of the others",
      number,
    )
    .addOption(
      new Option("--schedule <shape>", "learning rate after the warm-up")
        .choices(["cosine", "constant"])
        .default(d.schedule),
    )
    .option("--floor <share>", "share of the learning rate that the cosine ends at", number, d.floor)
    .option("--clip <norm>", "gradients are scaled down to this norm; 0: never", number, d.clip)
    .option("--decay <rate>", "decoupled weight decay", number, d.decay)
    .option("--batch-tokens <count>", "tokens of a micro-batch at most", number, d.batchTokens)
    .option("--accumulate <count>", "micro-batches of an optimiser step", number, d.accumulate)
    .option("--label-smoothing <share>", "spread over the vocabulary", number, d.labelSmoothing)
    .option(
      "--seed <number>",
      "of the order of the data, of dropout and of a LoRA's beginning",
      number,
      d.seed,
    )
    .option(
      "--every <steps>",
      "steps between two validations, each followed by a saved state",
      number,
      d.every,
    )
    .option("--decode <clips>", "validation clips that are decoded", number, d.decode);
}

/** LoRA, storage, and what to do but training. */
function addOtherOptions(command: Command): Command {
  return command
    .option("--lora-rank <rank>", "default: 16", number)
    .option("--lora-alpha <alpha>", "the LoRA is scaled by alpha / rank; default: twice the rank", number)
    .option("--lora-dropout <share>", "default: 0", number)
    .option(
      "--lora-targets <names>",
      `of ${loraTargets.join(", ")}; default: q_proj,v_proj`,
      parsed(parseLoraTargets),
    )
    .option("--merge", "merge the LoRA into the weights of the checkpoint that is written")
    .addOption(
      new Option("--dtype <type>", "type of the trained tensors in it; default: as in the model").choices([
        "bf16",
        "f32",
      ]),
    )
    .addOption(
      new Option(
        "--weights <format>",
        "storage of the frozen weights on the GPU; default: as in the checkpoint",
      ).choices(Object.keys(weightBlocks)),
    )
    .option("--skip-bad", "leave out lines that cannot be used")
    .option("--resume", "go on from the run's saved state")
    .addOption(
      new Option("--export <state>", "only write the checkpoint of a run's saved state").choices([
        "best",
        "last",
      ]),
    )
    .option("--report <directory>", "only draw the report of the run in this directory")
    .option("--plan", "only print memory and time that the training would take")
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
    ...{
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
    },
    ...{ labelSmoothing, seed, every, decode },
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
