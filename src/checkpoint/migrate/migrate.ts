import { show } from "../../json.js";
import type { LlmConfig, ModelConfig } from "../../config/model-config.js";
import { AUDIO_TOKEN, addedTokenId } from "../layouts/audio-token.js";
import type { Checkpoint, TensorEntry } from "../checkpoint.js";
import { isGgmlType } from "../../formats/container.js";
import { type MakeTemplate, makeTemplate, storedTensor } from "../convert.js";
import { type Sha256, encoderSha256 } from "./encoder-hash.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
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
  /** Blocks of the new adaptor. Default: as in the source. */
  readonly blocks?: number;
  /** Seed of the new adaptor's values, a u32. Default: 0. */
  readonly seed?: number;
  /** "linear_1" keeps the source's linear_1 if its shape is unchanged. Default: "linear_1". */
  readonly reuse?: "linear_1" | "none";
  /** Prompts end with an empty thought. Default: if the source's do, or if the LLM can think. */
  readonly emptyThought?: boolean;
  readonly template: MakeTemplate;
  /** A new SHA-256. */
  readonly sha256: () => Sha256;
}

/** One tensor of the new adaptor. */
export interface AdaptorTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Its shape in the source. Absent: the source does not have it. */
  readonly before?: readonly number[];
  /** It has the source's values. */
  readonly kept: boolean;
}

/** A migration that is ready to write. */
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
const WIDEST = 4096; // 8 heads of 512, the attention kernel's limit
/** Appended to a template, which ends with the assistant's header. */
const EMPTY_THOUGHT = "{%- if add_generation_prompt -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}\n";

/** The config with another LLM. As in every release, 8 heads and an FFN of width / 4. */
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
 * Joins a checkpoint's encoder with another LLM. Encoder and LLM keep their bits, and the LLM its
 * shards. The adaptor is new, at the LLM's width. Reads the encoder once for its hash, and the
 * weights while `pieces` runs.
 * @throws CheckpointError  the LLM lacks the prompt's tokens, has a width that the adaptor cannot
 *   have, or is stored in blocks; or the front-end does not match the encoder; or the signal's
 *   reason
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
  throw checkpointError(
    configFile,
    "hidden_size",
    `a multiple of ${WIDTH_UNIT} up to ${WIDEST}, for the adaptor's ${HEADS} heads`,
    width,
    "take another LLM",
  );
}

function checkStored(llm: LlmCheckpoint): void {
  const blocks = [...llm.tensors.values()].find(({ dtype }) => isGgmlType(dtype));
  if (!blocks) return;
  throw checkpointError(
    `${llm.name}/${blocks.file}`,
    tensorField(blocks.sourceName),
    "F32, F16 or BF16, which stay as they are",
    blocks.dtype,
    "take the safetensors of this model",
  );
}

/**
 * The audio token's id in the LLM's vocabulary.
 * @throws CheckpointError  it, or a token around a turn, is missing
 */
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

/** The LLM's tensors by file. */
function llmShards(llm: LlmCheckpoint): WriteTensor[][] {
  const shards = new Map<string, WriteTensor[]>();
  for (const entry of llm.tensors.values()) {
    const shard = shards.get(entry.file) ?? [];
    shards.set(entry.file, [...shard, storedTensor(llm, entry)]);
  }
  return [...shards].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, tensors]) => tensors);
}

/** The source's prompts, with an empty thought for an LLM that would think. */
async function prompts(
  source: Checkpoint,
  llm: LlmCheckpoint,
  options: MigrateOptions,
): Promise<{ emptyThought: boolean; template: string }> {
  const prompt = await source.assets.prompt();
  const { template, emptyThought: hasThought = false } = prompt;
  const emptyThought = options.emptyThought ?? (hasThought || (await canThink(llm)));
  if (template === undefined)
    return { emptyThought, template: makeTemplate(options.template, source, { ...prompt, emptyThought }) };
  const isMissing = emptyThought && !hasThought && !template.includes("<think>");
  return { emptyThought, template: isMissing ? template + EMPTY_THOUGHT : template };
}

/** Whether the LLM's chat template can switch thinking off. */
async function canThink({ assets }: LlmCheckpoint): Promise<boolean> {
  const { template } = await assets.prompt();
  const { chat_template: inConfig } = (await assets.tokenizerConfig()).json;
  return [template, inConfig].some((text) => typeof text === "string" && text.includes("enable_thinking"));
}
