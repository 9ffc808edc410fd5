import { isObject, show } from "../../json.js";
import type { LlmConfig, ModelConfig } from "../../config/model-config.js";
import { AUDIO_TOKEN, addedTokenId } from "../layouts/audio-token.js";
import type { Checkpoint, TensorEntry } from "../checkpoint.js";
import { isGgmlType } from "../../formats/container.js";
import { storedTensor } from "../convert.js";
import { type Sha256, encoderSha256 } from "./encoder-hash.js";
import { CheckpointError, tensorField } from "../../formats/errors.js";
import { expectedTensors } from "../../config/expected-tensors.js";
import { hfConfig } from "../layouts/hf-config.js";
import { initialTensor } from "./linear-init.js";
import type { LlmCheckpoint } from "./open-llm.js";
import {
  type OutputFile,
  type WriteDtype,
  type WriteEvents,
  configDetails,
  generationConfig,
  json,
  processorConfig,
  shardFiles,
  textFile,
  tokenizerOutput,
} from "../output-files.js";
import type { WriteTensor } from "../safetensors/write.js";

/** How the new adaptor and the prompt of a migrated checkpoint are made. */
export interface MigrateOptions extends WriteEvents {
  /** Blocks of the new adaptor. Default: as many as the source has. */
  readonly blocks?: number;
  /** Of the new adaptor's values, a u32. Default 0. */
  readonly seed?: number;
  /** "linear_1" keeps the source's where its shape is unchanged; "none" starts that anew too. Default "linear_1". */
  readonly reuse?: "linear_1" | "none";
  /** Prompts end with an empty thought. Default: where the source's do, or the LLM's chat template can switch thinking off. */
  readonly emptyThought?: boolean;
  /** The chat template for a source that has none. */
  readonly template: (prompt: {
    readonly emptyThought: boolean;
    readonly systemTurn: boolean;
    /** Of FunASR's config.yaml alone: its default tells the two published checkpoints apart. */
    readonly audioTokenRule?: ModelConfig["audioTokenRule"] | undefined;
  }) => string;
  /** A new SHA-256. */
  readonly sha256: () => Sha256;
}

/** What becomes of one tensor of the adaptor. */
export interface AdaptorTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** In the source; absent where the source has no such tensor. */
  readonly before?: readonly number[];
  /** The source's values stay. */
  readonly kept: boolean;
}

/** A migration, ready to be written. */
export interface Migration {
  readonly config: ModelConfig;
  readonly adaptor: readonly AdaptorTensor[];
  readonly encoderSha256: string;
  readonly emptyThought: boolean;
  /** To be written in this order. */
  readonly files: readonly OutputFile[];
}

const ENCODER = "model.audio_tower.";
const ADAPTOR = "model.multi_modal_projector.";
const HEADS = 8; // of the adaptor, in every released checkpoint
const WIDTH_UNIT = 32; // 8 heads, each a multiple of 4
const WIDEST = 4096; // 8 heads of 512, which the attention kernel holds
/** Appended to a template, whose last words are the assistant's header. */
const EMPTY_THOUGHT = "{%- if add_generation_prompt -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}\n";

/** The adaptor's configuration behind another LLM: 8 heads, FFN a quarter of the width, as every released one. */
export function migratedConfig(source: ModelConfig, llm: LlmConfig, blocks?: number): ModelConfig {
  const adaptor = {
    ...source.adaptor,
    hiddenSize: llm.hiddenSize,
    heads: HEADS,
    intermediateSize: llm.hiddenSize / 4,
    layers: blocks ?? source.adaptor.layers,
  };
  return { ...source, adaptor, llm, raw: undefined };
}

/**
 * A source checkpoint's encoder behind another LLM: encoder and LLM bit for bit as they are, the LLM in the shards that it came in, the
 * adaptor anew at the LLM's width. Reads the encoder once, for its hash, and the weights while the files' `pieces` run.
 * @throws CheckpointError  the two do not fit: a vocabulary without the prompt's tokens, a width that the adaptor cannot have, weights
 *                          that are stored in blocks, a front-end that is not the encoder's; the signal's reason
 */
export async function planMigration(
  source: Checkpoint,
  llm: LlmCheckpoint,
  options: MigrateOptions,
): Promise<Migration> {
  checkWidth(llm);
  checkStored(llm);
  const sha = await encoderSha256(source, options.sha256(), options.signal);
  const audioTokenId = await promptTokens(source, llm);
  const config = {
    ...migratedConfig(source.config, llm.config.llm, options.blocks),
    audioTokenId,
    encoderSha256: sha,
  };
  const { tensors: adaptor, table } = adaptorTensors(source, config, options);
  const encoder = tensorsUnder(source, ENCODER).map((entry) => storedTensor(source, entry));
  const shards = [[...encoder, ...adaptor], ...llmShards(llm)];
  const processor = await processorConfig(source);
  const details = configDetails({ config, configFile: source.configFile }, processor, shards.flat());
  const { emptyThought, template } = await prompts(source, llm, options);
  const metadata = new Map([["encoder_sha256", sha]]);
  const files = [
    json("config.json", hfConfig(config, details)),
    json("processor_config.json", processor),
    json("generation_config.json", await generationConfig(llm.assets)),
    textFile("chat_template.jinja", template),
    ...(await tokenizerOutput(llm.assets)),
    ...shardFiles(shards, metadata, options),
  ];
  return { config, adaptor: table, encoderSha256: sha, emptyThought, files };
}

function checkWidth({ config, configFile }: LlmCheckpoint): void {
  const width = config.llm.hiddenSize;
  if (width % WIDTH_UNIT === 0 && width <= WIDEST) return;
  throw new CheckpointError({
    file: configFile,
    field: "hidden_size",
    expected: `a multiple of ${WIDTH_UNIT} up to ${WIDEST}, for the adaptor's ${HEADS} heads`,
    got: width,
    advice: "take another LLM",
  });
}

function checkStored(llm: LlmCheckpoint): void {
  const blocks = [...llm.tensors.values()].find(({ dtype }) => isGgmlType(dtype));
  if (!blocks) return;
  throw new CheckpointError({
    file: `${llm.name}/${blocks.file}`,
    field: tensorField(blocks.sourceName),
    expected: "F32, F16 or BF16, which stay as they are",
    got: blocks.dtype,
    advice: "take the safetensors of this model",
  });
}

/** The audio token's id in the LLM's vocabulary, which must also have the tokens around every turn. */
async function promptTokens(source: Checkpoint, llm: LlmCheckpoint): Promise<number> {
  const { audioToken = AUDIO_TOKEN } = await source.assets.prompt();
  const config = await llm.assets.tokenizerConfig();
  const id = (token: string): Promise<number> =>
    addedTokenId(token, config, () => llm.assets.tokenizer(), llm.config.llm.vocabSize);
  await id("<|im_start|>");
  await id("<|im_end|>");
  return id(audioToken);
}

function tensorsUnder({ tensors }: Pick<Checkpoint, "tensors">, prefix: string): TensorEntry[] {
  return [...tensors.values()].filter(({ name }) => name.startsWith(prefix));
}

function adaptorTensors(
  source: Checkpoint,
  config: ModelConfig,
  { seed = 0, reuse = "linear_1" }: MigrateOptions,
): { tensors: WriteTensor[]; table: AdaptorTensor[] } {
  const expected = [...expectedTensors(config)].filter(([name]) => name.startsWith(ADAPTOR));
  const shapes = new Map(expected);
  const stored = source.tensors.get(`${ADAPTOR}linear_1.weight`)!.dtype;
  const dtype = isGgmlType(stored) ? "F32" : (stored as WriteDtype);
  const tensors: WriteTensor[] = [];
  const table: AdaptorTensor[] = [];
  for (const [name, shape] of expected) {
    const entry = source.tensors.get(name);
    const first = name.startsWith(`${ADAPTOR}linear_1.`);
    const kept = first && reuse === "linear_1" && entry !== undefined && show(entry.shape) === show(shape);
    const matrix = shapes.get(name.replace(/\.bias$/, ".weight"))!;
    tensors.push(
      kept ? storedTensor(source, entry) : initialTensor(name, shape, matrix.at(-1)!, { seed, dtype }),
    );
    table.push({ name, shape, kept, ...(entry ? { before: entry.shape } : {}) });
  }
  return { tensors, table };
}

/** The LLM's tensors, those of one file together. */
function llmShards(llm: LlmCheckpoint): WriteTensor[][] {
  const shards = new Map<string, WriteTensor[]>();
  for (const entry of llm.tensors.values()) {
    const shard = shards.get(entry.file) ?? [];
    shards.set(entry.file, [...shard, storedTensor(llm, entry)]);
  }
  return [...shards].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, tensors]) => tensors);
}

/** The source's prompts, with an empty thought before the answer of an LLM that would think. */
async function prompts(
  source: Checkpoint,
  llm: LlmCheckpoint,
  options: MigrateOptions,
): Promise<{ emptyThought: boolean; template: string }> {
  const { template, emptyThought: stated = false, systemTurn = true } = await source.assets.prompt();
  const thinks = (await thinkingTemplate(llm)).includes("enable_thinking");
  const emptyThought = options.emptyThought ?? (stated || thinks);
  if (template === undefined)
    return {
      emptyThought,
      template: options.template({
        emptyThought,
        systemTurn,
        audioTokenRule: source.layout === "funasr" ? source.config.audioTokenRule : undefined,
      }),
    };
  const ready = emptyThought && !stated && !template.includes("<think>");
  return { emptyThought, template: ready ? template + EMPTY_THOUGHT : template };
}

/** The chat template that the LLM was published with. */
async function thinkingTemplate({ assets }: LlmCheckpoint): Promise<string> {
  const { json: config } = await assets.tokenizerConfig();
  const { template = "" } = await assets.prompt();
  const other =
    isObject(config) && typeof config["chat_template"] === "string" ? config["chat_template"] : "";
  return template + other;
}
