import type { ModelConfig } from "../config/model-config.js";
import type { Checkpoint, TensorEntry } from "./checkpoint.js";
import { GGML_BLOCKS, isGgmlType } from "../formats/container.js";
import { DTYPE_BITS, fromFloat32 } from "../formats/dtypes.js";
import { storedToFloat32 } from "../formats/ggml-blocks.js";
import { ctcTensors } from "../config/ctc-config.js";
import { CTC_FILE, CTC_TOKENIZER, type CtcHead } from "./ctc.js";
import { hfConfig } from "./layouts/hf-config.js";
import type { PromptAssets } from "./layouts/layout.js";
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
  textFile,
  tokenizerOutput,
} from "./output-files.js";
import { type WriteTensor, tensorBytes, writeSafetensors } from "./safetensors/write.js";

/** Makes a chat template for a checkpoint without one. */
export type MakeTemplate = (prompt: {
  readonly emptyThought: boolean;
  readonly systemTurn: boolean;
  /** Only of FunASR's layout, where it distinguishes the two published checkpoints. */
  readonly audioTokenRule?: ModelConfig["audioTokenRule"] | undefined;
}) => string;

/** How a checkpoint is written in the layout of transformers. */
export interface ConvertOptions extends WriteEvents {
  /** Type of every tensor. Default: as stored; F32 for GGUF blocks. */
  readonly dtype?: WriteDtype;
  /** Larger weights are sharded. Default: 5 GB. */
  readonly maxShardBytes?: number;
  readonly template: MakeTemplate;
}

const MAX_SHARD_BYTES = 5e9;

/**
 * A checkpoint's files in the transformers layout, to be written in this order. transformers 5.23
 * loads them, and openCheckpoint reads the same tensors, front-end, prompts and stop ids. The
 * weights are read while `pieces` runs.
 * @throws CheckpointError  there is no tokenizer, or the front-end does not match the encoder; or
 *   the signal's reason
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
  const template = prompt.template ?? makeTemplate(options.template, checkpoint, prompt);
  // rounded weights have another hash
  const config = dtype ? { ...checkpoint.config, encoderSha256: undefined } : checkpoint.config;
  return [
    json("config.json", hfConfig(config, configDetails(checkpoint, processor, tensors))),
    json("processor_config.json", processor),
    json("generation_config.json", await generationConfig(checkpoint.assets)),
    textFile("chat_template.jinja", template),
    ...(await tokenizerOutput(checkpoint.assets)),
    ...weightFiles(checkpoint, tensors, options),
  ];
}

/** The files of a CTC head beside a converted checkpoint, in FunASR's names. */
export function ctcFiles({ config, source, tokenizerText }: CtcHead, dtype?: WriteDtype): OutputFile[] {
  const read: Checkpoint["read"] = (entry, byteOffset, byteLength, into) =>
    source.read(entry, byteOffset, byteLength, into);
  const tensors = ctcTensors(config).map(({ name, source: stored }) => {
    const entry = source.tensors.get(name) as TensorEntry;
    return { ...storedTensor({ read }, entry, dtype), name: stored };
  });
  const weights: OutputFile = {
    name: CTC_FILE,
    weightBytes: tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0),
    pieces: () => writeSafetensors(tensors, new Map([["format", "pt"]])),
  };
  return [weights, textFile(CTC_TOKENIZER, tokenizerText)];
}

/** The chat template of a checkpoint without one. */
export function makeTemplate(
  make: MakeTemplate,
  { layout, config }: Checkpoint,
  { emptyThought = false, systemTurn = true }: PromptAssets,
): string {
  const audioTokenRule = layout === "funasr" ? config.audioTokenRule : undefined;
  return make({ emptyThought, systemTurn, audioTokenRule });
}

/**
 * A checkpoint's tensor to write as `wanted`, or else as stored (blocks as F32). It is read and
 * converted in pieces, with at most five times PIECE_BYTES in memory.
 */
export function storedTensor(
  checkpoint: Pick<Checkpoint, "read">,
  entry: TensorEntry,
  wanted?: WriteDtype,
): WriteTensor {
  const { name, dtype, shape } = entry;
  const stored = isGgmlType(dtype) ? "F32" : (dtype as WriteDtype); // checkTensors refuses other types
  const to = wanted ?? stored;
  const unit = isGgmlType(dtype) ? GGML_BLOCKS[dtype].bytes : DTYPE_BITS[dtype] / 8;
  const step = Math.floor(PIECE_BYTES / unit) * unit;
  const data = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for (let at = 0; at < entry.byteLength; at += step) {
      const bytes = await checkpoint.read(entry, at, Math.min(step, entry.byteLength - at));
      yield dtype === to ? bytes : fromFloat32(storedToFloat32(bytes, dtype), to);
    }
  };
  return { name, dtype: to, shape, data };
}

/** The weights in one file, or in shards of at most the limit or one tensor, and their index. */
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
