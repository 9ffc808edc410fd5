import { bytes, count, table } from "../report/text.js";
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { openCtc } from "../checkpoint/ctc.js";
import { type LlmCheckpoint, isLlmAlone, openLlm } from "../checkpoint/migrate/open-llm.js";
import type { LlmConfig, ModelConfig } from "../config/model-config.js";
import { readText } from "../decode/generator.js";
import { loadParts } from "../decode/parts.js";
import { FunasrError } from "../errors.js";
import { demoModel } from "../node/demo.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { loraFiles, modelFiles } from "../node/model-files.js";
import { elementCount } from "../shape.js";
import { loadTokenizer } from "../tokenizer/tokenizer.js";
import { printReuse, reuseReport } from "./inspect-reuse.js";
import { baseOption, findModel, loraOption, modelForms } from "./model.js";
import { print, printJson, shown } from "./output.js";

interface Part {
  readonly name: string;
  readonly prefix: string;
  /** How a migration to a larger Qwen3 changes it. */
  readonly migration: string;
}

const parts: readonly Part[] = [
  { name: "encoder", prefix: "model.audio_tower.", migration: "reused whatever the LLM" },
  {
    name: "adaptor",
    prefix: "model.multi_modal_projector.",
    migration: "rebuilt at the LLM's width; linear_1 keeps its shape",
  },
  { name: "embedding", prefix: "model.language_model.embed_tokens.", migration: "replaced with the LLM" },
  { name: "LLM layers", prefix: "model.language_model.", migration: "replaced with the LLM" },
  { name: "head", prefix: "lm_head.", migration: "replaced with the LLM" },
];

/** The files of each layout. */
const LAYOUTS: Readonly<Record<Checkpoint["layout"], string>> = {
  transformers: "transformers: config.json, safetensors",
  funasr: "FunASR: config.yaml, model.pt, the LLM's directory",
  gguf: "GGUF: encoder and LLM, apart or in one file",
  mlx: "MLX port: safetensors under FunASR's structure",
};

interface PartReport {
  readonly name: string;
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  readonly dtypes: readonly string[];
  readonly migration: string;
}

/** A whole checkpoint, or a language model alone. */
type Inspected = Checkpoint | LlmCheckpoint;

function isWhole(config: Inspected["config"]): config is ModelConfig {
  return "encoder" in config;
}

function isCheckpoint(checkpoint: Inspected): checkpoint is Checkpoint {
  return isWhole(checkpoint.config);
}

/** Tensors by component, each counted once, from the files. */
function countParts(checkpoint: Inspected): PartReport[] {
  const entries = [...checkpoint.tensors.values()];
  const present = isWhole(checkpoint.config) ? parts : parts.slice(2);
  return present.map(({ name, prefix, migration }) => {
    const inPart = entries.filter(
      (e) => parts.find((part) => e.name.startsWith(part.prefix))?.prefix === prefix,
    );
    return {
      name,
      tensors: inPart.length,
      parameters: inPart.reduce((sum, entry) => sum + elementCount(entry.shape), 0),
      bytes: inPart.reduce((sum, { byteLength }) => sum + byteLength, 0),
      dtypes: [...new Set(inPart.map(({ dtype }) => dtype))].sort(),
      migration: isWhole(checkpoint.config) ? migration : "taken as it is",
    };
  });
}

const specialTokens = [
  "<|im_start|>",
  "<|im_end|>",
  "<|endoftext|>",
  "<|object_ref_start|>",
  "<think>",
  "</think>",
];

type TokenIds = Readonly<Record<string, number | null>>;

/**
 * Ids of the tokens of prompts and stop rules, null where the vocabulary lacks one; empty without a
 * tokenizer.
 */
async function readSpecialTokens({ assets }: Inspected): Promise<TokenIds> {
  if (assets.tokenizerFiles && !(await assets.tokenizerFiles.has("tokenizer.json"))) return {};
  const { json, file } = await assets.tokenizer();
  const tokenizer = loadTokenizer(json, {}, file);
  return Object.fromEntries(specialTokens.map((token) => [token, tokenizer.id(token) ?? null]));
}

interface InspectOptions {
  readonly base?: string;
  readonly lora?: readonly string[];
  readonly tensors?: boolean;
  readonly against?: string;
  readonly json?: boolean;
}

export function inspectCommand(): Command {
  return new Command("inspect")
    .description("show a checkpoint's components, shapes, parameters and bytes, counted from its files")
    .addArgument(new Argument("[model]", modelForms).default(demoModel, "the demo"))
    .addOption(new Option("--model <model>").hideHelp().argParser(refuseModel))
    .addOption(baseOption())
    .addOption(loraOption())
    .option("--tensors", "list every tensor")
    .option(
      "--against <llm>",
      "compare with this LLM: the changes of a migration to it, and the two tokenizers",
    )
    .option("--json", "one JSON object")
    .action(async (model: string, options: InspectOptions) => {
      const files = modelFiles(await findModel(model, options.base));
      const opened = await ((await isLlmAlone(files))
        ? openLlm(files, undefined, loraFiles(options.lora))
        : openCheckpoint(files, loraFiles(options.lora)));
      try {
        const tokens = await readSpecialTokens(opened);
        const checkpoint = Object.keys(tokens).length > 0 ? await withRefusal(opened) : opened;
        const reuse = isCheckpoint(checkpoint) ? await reuseReport(checkpoint, options.against) : undefined;
        const ctc = isCheckpoint(checkpoint) ? await inspectCtc(files, checkpoint) : { tensors: 0 };
        if (options.json) {
          const found = inspection(checkpoint, options.tensors === true);
          printJson({ ...found, ctc, specialTokens: tokens, reuse });
        } else {
          printInspection(checkpoint, ctc, tokens, options.tensors === true);
          if (reuse) printReuse(reuse);
        }
      } finally {
        await opened.close();
      }
    });
}

function refuseModel(model: string): never {
  throw new InvalidArgumentError(`Name it without --model: inspect ${model}`);
}

/**
 * Adds a warning if transcribe or generate refuses the tokenizer, the prompts or the front-end.
 */
async function withRefusal(checkpoint: Inspected): Promise<Inspected> {
  try {
    await (isCheckpoint(checkpoint) ? loadParts(checkpoint) : readText(checkpoint));
    return checkpoint;
  } catch (error) {
    if (!(error instanceof FunasrError)) throw error;
    const command = isCheckpoint(checkpoint) ? "transcribe" : "generate";
    return { ...checkpoint, warnings: [...checkpoint.warnings, `${command} refuses it: ${error.message}`] };
  }
}

/** The head that times of words need, and why it cannot be used. */
interface CtcInspection {
  readonly tensors: number;
  readonly refused?: string;
}

async function inspectCtc(files: ModelFiles, checkpoint: Checkpoint): Promise<CtcInspection> {
  try {
    const head = await openCtc(files, checkpoint);
    await head?.close();
    return { tensors: head?.source.tensors.size ?? 0 };
  } catch (error) {
    if (!(error instanceof FunasrError)) throw error;
    return { tensors: checkpoint.ctc.length, refused: error.message };
  }
}

function inspection(checkpoint: Inspected, tensors: boolean): Record<string, unknown> {
  return {
    model: checkpoint.name,
    layout: checkpoint.layout,
    parts: countParts(checkpoint),
    parameters: checkpoint.parameterCount,
    bytes: checkpoint.totalBytes,
    ...checkpoint.config,
    raw: undefined,
    ignored: checkpoint.ignored.map(({ sourceName }) => sourceName),
    notes: checkpoint.notes,
    warnings: checkpoint.warnings,
    tensors: tensors ? [...checkpoint.tensors.values()] : undefined,
  };
}

function printAudio({ encoder: e, adaptor: a }: ModelConfig): void {
  print(
    `  encoder  SAN-M, ${e.inputSize} → ${e.hiddenSize}, 1 + ${e.layers} + ${e.tpLayers} layers, ${e.heads} heads, FFN ${e.intermediateSize}, FSMN kernel ${e.fsmnKernelSize}`,
  );
  print(
    `  adaptor  ${e.hiddenSize} → ${a.projectorHiddenSize} → ${a.hiddenSize}, ${a.layers} blocks, ${a.heads} heads of ${a.hiddenSize / a.heads}, FFN ${a.intermediateSize}`,
  );
}

function printLlm(llm: LlmConfig): void {
  print(
    `  LLM      Qwen3, width ${llm.hiddenSize}, ${llm.layers} layers, ${llm.heads} heads of ${llm.headDim}, ${llm.kvHeads} KV heads, FFN ${llm.intermediateSize}, vocabulary ${count(llm.vocabSize)}, context ${count(llm.maxPositions)}`,
  );
  print(`  head     ${llm.tiedHead ? "tied to the embedding" : "of its own"}`);
}

function ctcLine({ tensors, refused }: CtcInspection): string {
  if (refused !== undefined) return `${tensors} tensors; refused: ${refused}`;
  return tensors > 0 ? `${tensors} tensors, for times of words` : "none: there are no times of words";
}

function printInspection(
  checkpoint: Inspected,
  ctc: CtcInspection,
  tokens: TokenIds,
  tensors: boolean,
): void {
  const { config } = checkpoint;
  const reports = countParts(checkpoint);
  print(`checkpoint ${shown(checkpoint.name)}`);
  print(`  layout   ${LAYOUTS[checkpoint.layout]}`);
  if (isWhole(config)) printAudio(config);
  printLlm(config.llm);
  if (isWhole(config)) {
    const rule =
      config.audioTokenRule === "all" ? "one per frame" : "the first eighth of the frames (low frame rate)";
    print(`  audio    token ${config.audioTokenId}, ${rule}`);
    print(`  CTC      ${ctcLine(ctc)}`);
  } else {
    print("  audio    none: a language model alone");
  }
  const ids = Object.entries(tokens).map(([token, id]) => `${token} ${id ?? "missing"}`);
  print(`  tokens   ${ids.length > 0 ? ids.join(", ") : "no tokenizer.json"}`);
  for (const { sourceName } of checkpoint.ignored)
    print(`  unused   ${shown(sourceName)}: the embedding once more`);
  for (const line of checkpoint.notes) print(`  note     ${shown(line)}`);
  for (const line of checkpoint.warnings) print(`  warning  ${shown(line)}`);
  print("");
  const rows = reports.map((part) => [
    ...[part.name, count(part.tensors), count(part.parameters), bytes(part.bytes), part.dtypes.join(" ")],
    part.migration,
  ]);
  const all = [
    "all",
    count(checkpoint.tensors.size),
    count(checkpoint.parameterCount),
    bytes(checkpoint.totalBytes),
    "",
    "",
  ];
  print(
    table(
      [["component", "tensors", "parameters", "bytes", "dtype", "in a migration"], ...rows, all],
      [1, 2, 3],
    ),
  );
  if (!tensors) return;
  const list = [...checkpoint.tensors.values()].map(({ name, dtype, shape }) => [
    name,
    dtype,
    `[${shape.join(", ")}]`,
  ]);
  print(`\n${table([["tensor", "dtype", "shape"], ...list])}`);
}
