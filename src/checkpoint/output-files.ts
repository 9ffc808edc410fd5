import { type JsonObject, isObject, show } from "../json.js";
import { elementCount } from "../shape.js";
import type { Checkpoint } from "./checkpoint.js";
import { checkpointError } from "../formats/errors.js";
import type { hfConfig } from "./layouts/hf-config.js";
import type { Assets } from "./layouts/layout.js";
import { type WriteTensor, tensorBytes, writeSafetensors } from "./safetensors/write.js";
import { INDEX, SINGLE } from "./safetensors/shards.js";
import type { ModelFiles } from "./source.js";

/** Types of written weights. */
export type WriteDtype = "F32" | "F16" | "BF16";

/** A file to write, piece by piece. */
export interface OutputFile {
  readonly name: string;
  /** Bytes of weights; 0 for other files. */
  readonly weightBytes: number;
  /** The content, in order. */
  readonly pieces: () => AsyncIterable<Uint8Array>;
}

/** Bytes read at a time. */
export const PIECE_BYTES = 4 << 20;

const COPIED = [
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  "special_tokens_map.json",
];

export function textFile(name: string, content: string): OutputFile {
  const bytes = new TextEncoder().encode(content);
  return { name, weightBytes: 0, pieces: () => stream([bytes]) };
}

export function json(name: string, content: JsonObject): OutputFile {
  return textFile(name, `${JSON.stringify(content, null, 2)}\n`);
}

async function* stream(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for (const piece of pieces) yield await Promise.resolve(piece);
}

/** Progress and cancellation of writing. */
export interface WriteEvents {
  /** Called after each piece with the bytes of weights written so far. */
  readonly onProgress?: (bytesWritten: number) => void;
  /** Stops planning and writing, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A weight file for each list of tensors, and the index if there are several. */
export function shardFiles(
  shards: readonly (readonly WriteTensor[])[],
  metadata: ReadonlyMap<string, string>,
  { onProgress, signal }: WriteEvents = {},
): OutputFile[] {
  const names = shards.map((_, i) => (shards.length === 1 ? SINGLE : shardName(i + 1, shards.length)));
  const tensors = shards.flat();
  let done = 0;
  const header = new Map([...metadata, ["format", "pt"]]);
  const write = async function* (shard: readonly WriteTensor[]): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const piece of writeSafetensors(shard, header)) {
      signal?.throwIfAborted();
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

/**
 * The front-end's sizes, and the dtype in which transformers loses no bit.
 * @throws CheckpointError  the sizes do not match the encoder's input
 */
export function configDetails(
  { config, configFile }: Pick<Checkpoint, "config" | "configFile">,
  processor: JsonObject,
  tensors: readonly WriteTensor[],
): Parameters<typeof hfConfig>[1] {
  const fields = processor["feature_extractor"] as JsonObject;
  const [melBins, stackedFrames] = [Number(fields["feature_size"]), Number(fields["num_frames_lfr"])];
  if (melBins * stackedFrames !== config.encoder.inputSize) {
    const expected = `mel bins times stacked frames of the encoder's input ${config.encoder.inputSize}`;
    const got = `${show(fields["feature_size"])} times ${show(fields["num_frames_lfr"])}`;
    throw checkpointError(configFile, "front-end", expected, got);
  }
  const dtypes = new Set(tensors.map((t) => t.dtype));
  const dtype = dtypes.has("F32") || dtypes.size > 1 ? "F32" : (tensors[0].dtype as WriteDtype);
  return { melBins, stackedFrames, dtype };
}

/** processor_config.json, also with the waveform's scale, which transformers ignores. */
export async function processorConfig({ assets }: Checkpoint): Promise<JsonObject> {
  const { json: found } = await assets.frontend();
  const fields = isObject(found["feature_extractor"]) ? found["feature_extractor"] : found;
  const { audioToken } = await assets.prompt();
  const { num_mel_bins: melBins = 80, ...rest } = fields;
  return {
    processor_class: "FunAsrNanoProcessor",
    ...(audioToken === undefined ? {} : { audio_token: audioToken }),
    feature_extractor: {
      feature_extractor_type: "FunAsrNanoFeatureExtractor",
      feature_size: melBins,
      num_frames_lfr: 7,
      stride_lfr: 6,
      padding_side: "right",
      padding_value: 0,
      return_attention_mask: true,
      ...rest,
    },
  };
}

/** generation_config.json: stop and padding ids, and greedy decoding as in every release. */
export async function generationConfig(assets: Assets): Promise<JsonObject> {
  const { added_tokens: added } = (await assets.tokenizer()).json;
  const list: unknown[] = Array.isArray(added) ? added : [];
  const id = (content: string): unknown[] => {
    const token = list.find((t) => isObject(t) && t["content"] === content);
    return isObject(token) ? [token["id"]] : [];
  };
  const stated = (await assets.generation()).json["eos_token_id"] ?? [];
  const statedIds: unknown[] = Array.isArray(stated) ? stated : [stated];
  const eos = [...new Set([...statedIds, ...id("<|im_end|>"), ...id("<|endoftext|>")])];
  const [pad] = id("<|endoftext|>");
  return { do_sample: false, eos_token_id: eos, ...(pad === undefined ? {} : { pad_token_id: pad }) };
}

/** Copies of the tokenizer's files, or two files if it is part of another file. */
export async function tokenizerOutput(assets: Assets): Promise<OutputFile[]> {
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
