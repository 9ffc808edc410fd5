import { type JsonObject, isObject, show } from "../json.js";
import type { Checkpoint, TensorEntry } from "./checkpoint.js";
import { GGML_BLOCKS, isGgmlType } from "./container.js";
import { DTYPE_BITS, fromFloat32, toFloat32 } from "./dtypes.js";
import { CheckpointError } from "./errors.js";
import { dequantizeBlocks } from "./ggml-blocks.js";
import { hfConfig } from "./hf-config.js";

import { elementCount } from "../shape.js";
import { writeSafetensors } from "./safetensors-write.js";
import type { WriteTensor } from "./safetensors-write.js";
import { INDEX, SINGLE } from "./shards.js";
import type { ModelFiles } from "./source.js";

/** Types that weights are written in. */
export type ConvertDtype = "F32" | "F16" | "BF16";

export interface ConvertOptions {
  /** Of every tensor. Default: as stored; blocks of GGUF, which transformers has no type for, become F32. */
  readonly dtype?: ConvertDtype;
  /** Above it the weights are sharded. Default 5 GB. */
  readonly maxShardBytes?: number;
  /** The chat template for checkpoints that have none. */
  readonly template: (prompt: { readonly emptyThought: boolean; readonly systemTurn: boolean }) => string;
  /** Called after each piece with the bytes of weights written so far. */
  readonly onProgress?: (bytesWritten: number) => void;
}

/** A file to write, piece by piece. */
export interface OutputFile {
  readonly name: string;
  /** Bytes of weights in it, 0 for other files. */
  readonly weightBytes: number;
  readonly pieces: () => AsyncIterable<Uint8Array>;
}

/** Bytes read at a time: with their f32 form and the converted one at most five times as many are in memory. */
const PIECE_BYTES = 4 << 20;
const MAX_SHARD_BYTES = 5e9;
const COPIED = [
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  "special_tokens_map.json",
];

/**
 * The files of a checkpoint's -hf form, to be written in this order: what transformers 5.23 loads, and what openCheckpoint opens to the
 * same tensors, front-end, prompts and stop ids. Reads the small files at once and the weights while `pieces` runs.
 * @throws CheckpointError  the checkpoint lacks a tokenizer, or its front-end does not fit its encoder
 */
export async function transformersFiles(
  checkpoint: Checkpoint,
  options: ConvertOptions,
): Promise<OutputFile[]> {
  const tensors = [...checkpoint.tensors.values()].map((entry) => convertTensor(checkpoint, entry, options));
  const processor = await processorConfig(checkpoint);
  const prompt = await checkpoint.assets.prompt();
  const { emptyThought = false, systemTurn = true } = prompt;
  return [
    json("config.json", hfConfig(checkpoint.config, configDetails(checkpoint, processor, tensors))),
    json("processor_config.json", processor),
    json("generation_config.json", await generationConfig(checkpoint)),
    file("chat_template.jinja", prompt.template ?? options.template({ emptyThought, systemTurn })),
    ...(await tokenizerOutput(checkpoint)),
    ...weightFiles(checkpoint, tensors, options),
  ];
}

function file(name: string, content: string): OutputFile {
  const bytes = new TextEncoder().encode(content);
  return { name, weightBytes: 0, pieces: () => stream([bytes]) };
}

function json(name: string, content: JsonObject): OutputFile {
  return file(name, `${JSON.stringify(content, null, 2)}\n`);
}

async function* stream(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for (const piece of pieces) yield await Promise.resolve(piece);
}

/** A tensor in its new dtype, read and converted piece by piece as it is written. */
function convertTensor(checkpoint: Checkpoint, entry: TensorEntry, options: ConvertOptions): WriteTensor {
  const { name, dtype, shape } = entry;
  const stored = isGgmlType(dtype) ? "F32" : (dtype as ConvertDtype); // checkTensors lets no other floats through
  const to = options.dtype ?? stored;
  const unit = isGgmlType(dtype) ? GGML_BLOCKS[dtype].bytes : DTYPE_BITS[dtype] / 8;
  const step = Math.floor(PIECE_BYTES / unit) * unit;
  const data = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for (let at = 0; at < entry.byteLength; at += step) {
      const bytes = await checkpoint.read(entry, at, Math.min(step, entry.byteLength - at));
      if (dtype === to) yield bytes;
      else
        yield fromFloat32(isGgmlType(dtype) ? dequantizeBlocks(bytes, dtype) : toFloat32(bytes, dtype), to);
    }
  };
  return { name, dtype: to, shape, data };
}

function tensorBytes({ dtype, shape }: WriteTensor): number {
  return (elementCount(shape) * DTYPE_BITS[dtype]) / 8;
}

/** The weights in one file, or in shards of at most the limit (or one tensor) with their index. */
function weightFiles(
  { metadata }: Checkpoint,
  tensors: readonly WriteTensor[],
  { maxShardBytes = MAX_SHARD_BYTES, onProgress }: ConvertOptions,
): OutputFile[] {
  const shards: WriteTensor[][] = [[]];
  let size = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    if (size > 0 && size + bytes > maxShardBytes) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)!.push(tensor);
    size += bytes;
  }
  const names = shards.map((_, i) => (shards.length === 1 ? SINGLE : shardName(i + 1, shards.length)));
  let done = 0;
  const header = new Map([...metadata, ["format", "pt"]]);
  const write = async function* (shard: readonly WriteTensor[]): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const piece of writeSafetensors(shard, header)) {
      yield piece;
      onProgress?.((done += piece.byteLength));
    }
  };
  const files = shards.map((shard, i): OutputFile => ({
    name: names[i],
    weightBytes: shard.reduce((sum, t) => sum + tensorBytes(t), 0),
    pieces: () => write(shard),
  }));
  if (shards.length === 1) return files;
  const entries = shards.flatMap((shard, i) => shard.map(({ name }) => [name, names[i]] as const));
  const totals = {
    total_parameters: tensors.reduce((sum, t) => sum + elementCount(t.shape), 0),
    total_size: tensors.reduce((sum, t) => sum + tensorBytes(t), 0),
  };
  return [...files, json(INDEX, { metadata: totals, weight_map: Object.fromEntries(entries) })];
}

function shardName(index: number, count: number): string {
  const digits = (n: number): string => String(n).padStart(5, "0");
  return `model-${digits(index)}-of-${digits(count)}.safetensors`;
}

/** Sizes of the front-end, which the encoder's input must be, and the widest dtype, in which transformers loses no bit. */
function configDetails(
  { config, configFile }: Checkpoint,
  processor: JsonObject,
  tensors: readonly WriteTensor[],
): Parameters<typeof hfConfig>[1] {
  const fields = processor["feature_extractor"] as JsonObject;
  const [melBins, stackedFrames] = [Number(fields["feature_size"]), Number(fields["num_frames_lfr"])];
  if (melBins * stackedFrames !== config.encoder.inputSize) {
    const expected = `mel bins times stacked frames of the encoder's input ${config.encoder.inputSize}`;
    const got = `${show(fields["feature_size"])} times ${show(fields["num_frames_lfr"])}`;
    throw new CheckpointError({ file: configFile, field: "front-end", expected, got });
  }
  const dtypes = new Set(tensors.map((t) => t.dtype));
  const dtype = dtypes.has("F32") || dtypes.size > 1 ? "F32" : (tensors[0].dtype as ConvertDtype);
  return { melBins, stackedFrames, dtype };
}

/** Also holds what transformers has no field for, the waveform's scale: it keeps such fields and ignores them. */
async function processorConfig({ assets }: Checkpoint): Promise<JsonObject> {
  const { json: found } = await assets.frontend();
  const fields = isObject(found["feature_extractor"]) ? found["feature_extractor"] : found;
  const { audioToken } = await assets.prompt();
  const { num_mel_bins: melBins = 80, ...rest } = fields;
  return {
    processor_class: "FunAsrNanoProcessor",
    ...(audioToken === undefined ? {} : { audio_token: audioToken }),
    feature_extractor: {
      feature_extractor_type: "FunAsrNanoFeatureExtractor",
      ...{ feature_size: melBins, num_frames_lfr: 7, stride_lfr: 6 },
      ...{ padding_side: "right", padding_value: 0, return_attention_mask: true },
      ...rest,
    },
  };
}

/** The ids that end an answer, and the one that pads: greedy, as every released checkpoint decodes. */
async function generationConfig({ assets }: Checkpoint): Promise<JsonObject> {
  const { added_tokens: added } = (await assets.tokenizer()).json;
  const list: unknown[] = Array.isArray(added) ? added : [];
  const id = (content: string): unknown[] => {
    const token = list.find((t) => isObject(t) && t["content"] === content);
    return isObject(token) ? [token["id"]] : [];
  };
  const stated = (await assets.generation()).json["eos_token_id"] ?? [];
  const own: unknown[] = Array.isArray(stated) ? stated : [stated];
  const eos = [...new Set([...own, ...id("<|im_end|>"), ...id("<|endoftext|>")])];
  const [pad] = id("<|endoftext|>");
  return { do_sample: false, eos_token_id: eos, ...(pad === undefined ? {} : { pad_token_id: pad }) };
}

/** The tokenizer's own files, or the two that matter where it is part of another file. */
async function tokenizerOutput({ assets }: Checkpoint): Promise<OutputFile[]> {
  const files = assets.tokenizerFiles;
  if (!files || !(await files.has("tokenizer.json"))) {
    const [tokenizer, config] = [await assets.tokenizer(), await assets.tokenizerConfig()];
    return [json("tokenizer.json", tokenizer.json), json("tokenizer_config.json", config.json)];
  }
  const found: string[] = [];
  for (const name of COPIED) if (await files.has(name)) found.push(name);
  return found.map((name) => ({ name, weightBytes: 0, pieces: () => copy(files, name) }));
}

async function* copy(files: ModelFiles, name: string): AsyncGenerator<Uint8Array, void, undefined> {
  const source = await files.open(name);
  try {
    for (let at = 0; at < source.size; at += PIECE_BYTES)
      yield await source.read(at, Math.min(PIECE_BYTES, source.size - at));
  } finally {
    await source.close();
  }
}
