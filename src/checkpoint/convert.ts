import type { ModelConfig } from "../config/model-config.js";
import type { Checkpoint, TensorEntry } from "./checkpoint.js";
import { GGML_BLOCKS, isGgmlType } from "../formats/container.js";
import { DTYPE_BITS, fromFloat32, toFloat32 } from "../formats/dtypes.js";
import { dequantizeBlocks } from "../formats/ggml-blocks.js";
import { hfConfig } from "./layouts/hf-config.js";
import {
  type OutputFile,
  PIECE_BYTES,
  type WriteDtype,
  type WriteEvents,
  configDetails,
  generationConfig,
  json,
  processorConfig,
  shardFiles,
  tensorBytes,
  textFile,
  tokenizerOutput,
} from "./output-files.js";
import type { WriteTensor } from "./safetensors/write.js";

/** How a checkpoint is written in the layout of transformers. */
export interface ConvertOptions extends WriteEvents {
  /** Of every tensor. Default: as stored; blocks of GGUF, which transformers has no type for, become F32. */
  readonly dtype?: WriteDtype;
  /** Above it the weights are sharded. Default 5 GB. */
  readonly maxShardBytes?: number;
  /** The chat template for checkpoints that have none. */
  readonly template: (prompt: {
    readonly emptyThought: boolean;
    readonly systemTurn: boolean;
    /** Of FunASR's config.yaml alone: its default tells the two published checkpoints apart. */
    readonly audioTokenRule?: ModelConfig["audioTokenRule"] | undefined;
  }) => string;
}

const MAX_SHARD_BYTES = 5e9;

/**
 * The files of a checkpoint's -hf form, to be written in this order: what transformers 5.23 loads, and what openCheckpoint opens to the
 * same tensors, front-end, prompts and stop ids. Reads the small files at once and the weights while `pieces` runs.
 * @throws CheckpointError  the checkpoint lacks a tokenizer, or its front-end does not fit its encoder; the signal's reason
 */
export async function transformersFiles(
  checkpoint: Checkpoint,
  options: ConvertOptions,
): Promise<OutputFile[]> {
  const { dtype } = options;
  options.signal?.throwIfAborted();
  const tensors = [...checkpoint.tensors.values()].map((entry) => storedTensor(checkpoint, entry, dtype));
  const processor = await processorConfig(checkpoint);
  const prompt = await checkpoint.assets.prompt();
  const { emptyThought = false, systemTurn = true } = prompt;
  // rounded weights are another encoder: they have another hash
  const config = dtype ? { ...checkpoint.config, encoderSha256: undefined } : checkpoint.config;
  return [
    json("config.json", hfConfig(config, configDetails(checkpoint, processor, tensors))),
    json("processor_config.json", processor),
    json("generation_config.json", await generationConfig(checkpoint.assets)),
    textFile(
      "chat_template.jinja",
      prompt.template ??
        options.template({
          emptyThought,
          systemTurn,
          audioTokenRule: checkpoint.layout === "funasr" ? checkpoint.config.audioTokenRule : undefined,
        }),
    ),
    ...(await tokenizerOutput(checkpoint.assets)),
    ...weightFiles(checkpoint, tensors, options),
  ];
}

/**
 * A checkpoint's tensor to be written in `wanted`, by default as it is stored (blocks as F32): read and converted piece by piece as it
 * is written, the pieces, their f32 form and the converted one at most five times PIECE_BYTES.
 */
export function storedTensor(
  checkpoint: Pick<Checkpoint, "read">,
  entry: TensorEntry,
  wanted?: WriteDtype,
): WriteTensor {
  const { name, dtype, shape } = entry;
  const stored = isGgmlType(dtype) ? "F32" : (dtype as WriteDtype); // checkTensors lets no other floats through
  const to = wanted ?? stored;
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

/** The weights in one file, or in shards of at most the limit (or one tensor) with their index. */
function weightFiles(
  { metadata }: Checkpoint,
  tensors: readonly WriteTensor[],
  { maxShardBytes = MAX_SHARD_BYTES, ...events }: ConvertOptions,
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
  return shardFiles(shards, metadata, events);
}
