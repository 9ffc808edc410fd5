import type { LlmConfig } from "../../config/model-config.js";
import { readFirst, readJson } from "./assets.js";
import { findAudioToken } from "./audio-token.js";
import type { Container, StoredTensor } from "../../formats/container.js";
import { isGgmlType } from "../../formats/container.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import { type GgufFile, type GgufTensor, openGguf } from "../gguf/gguf.js";
import { GGUF_KEY_MAP } from "./key-maps-gguf.js";
import type { KeyMap } from "./key-maps.js";
import type { Assets, OpenedLayout } from "./layout.js";
import { type ModelFiles, closeAll, closeOnError, openAll, readRange } from "../source.js";
import {
  checkArchitecture,
  embeddingRows,
  frontendJson,
  readLlmConfig,
  readPairConfig,
} from "./gguf-config.js";
import { audioTokenId, generationJson, holdsTokenizer, tokenizerJson } from "./gguf-tokenizer.js";

/** The two files of a pair, by their names in a directory. */
export interface GgufPair {
  readonly encoder: string;
  readonly llm: string;
}

/** An open Qwen3. */
export interface GgufLlm {
  readonly container: Container;
  readonly config: LlmConfig;
  readonly keyMaps: readonly KeyMap[];
  readonly assets: Assets;
  /** The chat template in the file. */
  readonly template?: string;
}

/** An open file with its name in the directory. */
export interface Opened {
  readonly name: string;
  readonly file: GgufFile;
}

/** Names of the encoder's file, as of FunASR's exporter. */
export const GGUF_ENCODER = /^funasr-encoder.*\.gguf$/i;
/** Names of the LLM's file in the published pairs. */
export const GGUF_LLM = /^qwen3.*\.gguf$/i;
const ENCODER_ARCHITECTURE = "funasr-sensevoice-encoder";
const LLM_ARCHITECTURE = "qwen3";
const HEAD = "output.weight";
const FSMN = /\.fsmn_block\.(conv_left\.)?weight$/;

/** True for the name of a file of a pair. */
export function isGgufWeights(name: string): boolean {
  return GGUF_ENCODER.test(name) || GGUF_LLM.test(name);
}

/**
 * The pair of a directory, by file names.
 * @throws CheckpointError  none or several of either kind
 */
export function findGgufPair(directory: string, names: readonly string[]): GgufPair {
  const find = (pattern: RegExp, example: string): string => {
    const found = names.filter((name) => pattern.test(name)).sort();
    if (found.length === 1) return found[0];
    const several = found.join(", ");
    const advice = several ? "name the file that is meant, or keep one" : "download both files of the pair";
    throw checkpointError(directory, example, "one such file", several || "none", advice);
  };
  return { encoder: find(GGUF_ENCODER, "funasr-encoder-*.gguf"), llm: find(GGUF_LLM, "qwen3-*.gguf") };
}

/**
 * Opens a pair: FunASR's encoder and adaptor, and a Qwen3 of llama.cpp.
 * @param pair  default: the result of findGgufPair
 * @throws CheckpointError, ConfigError  a file is missing or damaged, or the files are of different
 *   models
 */
export async function openGgufPair(files: ModelFiles, pair?: GgufPair): Promise<OpenedLayout> {
  const { encoder, llm } = pair ?? findGgufPair(files.name, await files.list());
  return withFiles(files, [encoder, llm], (opened) => {
    checkArchitecture(opened[0].file.metadata, ENCODER_ARCHITECTURE);
    checkArchitecture(opened[1].file.metadata, LLM_ARCHITECTURE);
    return pairLayout(files, opened);
  });
}

/** The layout of an open pair, or of one file with both. @throws CheckpointError, ConfigError */
export async function pairLayout(files: ModelFiles, opened: readonly Opened[]): Promise<OpenedLayout> {
  const encoder = opened[0].file;
  const llm = opened.at(-1)!.file;
  const container = makeContainer(files.name, opened);
  const config = readPairConfig(encoder, llm, {
    tiedHead: !container.tensors.has(HEAD),
    audioTokenId: holdsTokenizer(llm.metadata)
      ? audioTokenId(llm.metadata)
      : (await findAudioToken(files, embeddingRows(llm))).id,
  });
  const frontend = { file: encoder.source.name, json: frontendJson(encoder) };
  return {
    container,
    config,
    configFile: llm.source.name,
    keyMaps: [GGUF_KEY_MAP],
    assets: makeAssets(files, llm, frontend),
    notes: [
      "GGUF names no LayerNorm epsilon: 1e-5, as FunASR's runtime",
      "GGUF names no audio token rule: low frame rate, as FunASR's runtime",
    ],
  };
}

/** Opens a Qwen3 of llama.cpp. @throws CheckpointError, ConfigError */
export async function openGgufLlm(files: ModelFiles, name: string): Promise<GgufLlm> {
  return withFiles(files, [name], (opened) => {
    const [{ file }] = opened;
    checkArchitecture(file.metadata, LLM_ARCHITECTURE);
    const container = makeContainer(files.name, opened);
    const config = readLlmConfig(file, !container.tensors.has(HEAD));
    const key = "tokenizer.chat_template";
    const template = file.metadata.has(key) ? { template: file.metadata.string(key) } : {};
    const assets = makeAssets(files, file, { file: file.source.name, json: {} });
    return Promise.resolve({ container, config, keyMaps: [GGUF_KEY_MAP], assets, ...template });
  });
}

/** Tokenizer and generation from the LLM's metadata, or else from files beside it. */
function makeAssets(
  files: ModelFiles,
  llm: GgufFile,
  frontend: Awaited<ReturnType<Assets["frontend"]>>,
): Assets {
  const file = llm.source.name;
  const inside = holdsTokenizer(llm.metadata);
  return {
    frontend: () => Promise.resolve(frontend),
    tokenizer: async () =>
      inside ? { file, json: tokenizerJson(llm.metadata) } : readJson(files, "tokenizer.json"),
    tokenizerConfig: async () => (inside ? { file, json: {} } : readFirst(files, "tokenizer_config.json")),
    generation: async () =>
      inside ? { file, json: generationJson(llm.metadata) } : readFirst(files, "generation_config.json"),
    prompt: () => Promise.resolve({}), // FunASR's rules: the LLM's chat template has no audio
    ...(inside ? {} : { tokenizerFiles: files }),
  };
}

/** Opens files and calls `use`; closes them if that fails. */
export async function withFiles<T>(
  files: ModelFiles,
  names: readonly string[],
  use: (opened: Opened[]) => Promise<T>,
): Promise<T> {
  const opened = [...(await openAll(files, names, openGguf))].map(([name, file]) => ({ name, file }));
  return closeOnError({ close: () => closeFiles(opened) }, () => use(opened));
}

function closeFiles(opened: readonly Opened[]): Promise<void> {
  return closeAll(opened.map(({ file }) => file));
}

/** Open files with no name in common as one container. @throws CheckpointError  a name twice */
export function makeContainer(name: string, opened: readonly Opened[]): Container {
  const ranges = new Map<StoredTensor, { file: GgufFile; tensor: GgufTensor }>();
  const tensors = new Map<string, StoredTensor>();
  for (const one of opened) {
    const { file } = one;
    for (const tensor of file.tensors.values()) {
      if (tensors.has(tensor.name)) {
        const expected = "a name that the other file does not have";
        throw checkpointError(file.source.name, tensorField(tensor.name), expected, "it in both");
      }
      const stored = describe(one, tensor);
      tensors.set(tensor.name, stored);
      ranges.set(stored, { file, tensor });
    }
  }
  return {
    name,
    layout: "gguf",
    tensors,
    metadata: new Map(opened.flatMap(({ file }) => [...file.metadata.texts()])),
    read: async (stored, byteOffset, byteLength, into) => {
      const range = ranges.get(stored);
      if (!range)
        throw checkpointError(name, tensorField(stored.name), "a tensor of this container", "another's");
      const { file, tensor } = range;
      if (tensor.shape === stored.shape) return readRange(file.source, tensor, byteOffset, byteLength, into);
      const taps = await transposed(file, tensor);
      return taps.slice(byteOffset, byteOffset + byteLength);
    },
    close: () => closeFiles(opened),
  };
}

/** A tensor's entry. FSMN taps, stored as [taps, D], are listed as [D, 1, taps]. */
function describe({ name: file, file: { source } }: Opened, tensor: GgufTensor): StoredTensor {
  const { name, dtype, shape, byteLength } = tensor;
  if (!FSMN.test(name) || shape.length !== 2) return { name, file, dtype, shape, byteLength };
  if (!isGgmlType(dtype)) return { name, file, dtype, shape: [shape[1], 1, shape[0]], byteLength };
  const field = tensorField(name, "type");
  throw checkpointError(source.name, field, "F32, F16 or BF16", dtype);
}

async function transposed({ source }: GgufFile, tensor: GgufTensor): Promise<Uint8Array> {
  const bytes = await readRange(source, tensor, 0, tensor.byteLength);
  const [taps, width] = tensor.shape;
  const size = tensor.byteLength / (taps * width);
  const out = new Uint8Array(bytes.byteLength);
  for (let d = 0; d < width; d++) {
    for (let k = 0; k < taps; k++) {
      const from = (k * width + d) * size;
      out.set(bytes.subarray(from, from + size), (d * taps + k) * size);
    }
  }
  return out;
}
