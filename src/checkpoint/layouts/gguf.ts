import type { LlmConfig } from "../../config/model-config.js";
import { readFirst, readJson } from "./assets.js";
import { findAudioToken } from "./audio-token.js";
import type { Container, StoredTensor } from "../../formats/container.js";
import { isGgmlType } from "../../formats/container.js";
import { CheckpointError, tensorField } from "../../formats/errors.js";
import { openGguf, readGgufRange } from "../gguf/gguf.js";
import type { GgufFile, GgufTensor } from "../gguf/gguf.js";
import { GGUF_KEY_MAP } from "./key-maps-gguf.js";
import type { KeyMap } from "./key-maps.js";
import type { Assets, OpenedLayout } from "./layout.js";
import type { ModelFiles } from "../source.js";
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

/** A Qwen3 alone, open. */
export interface GgufLlm {
  readonly container: Container;
  readonly config: LlmConfig;
  readonly keyMaps: readonly KeyMap[];
  readonly assets: Assets;
  /** The chat template in the file. */
  readonly template?: string;
}

/** An open file under its name in the directory. */
export interface Opened {
  readonly name: string;
  readonly file: GgufFile;
}

/** Names of the encoder's file, as FunASR's exporter gives them. */
export const GGUF_ENCODER = /^funasr-encoder.*\.gguf$/i;
/** Names of the LLM's file in the published pairs. */
export const GGUF_LLM = /^qwen3.*\.gguf$/i;
/** What the files call themselves. */
const ENCODER_ARCHITECTURE = "funasr-sensevoice-encoder";
const LLM_ARCHITECTURE = "qwen3";
const HEAD = "output.weight";
const FSMN = /\.fsmn_block\.weight$/;

/** True for the name of a file of a pair. */
export function isGgufWeights(name: string): boolean {
  return GGUF_ENCODER.test(name) || GGUF_LLM.test(name);
}

/**
 * The pair of a directory: one file that begins with "funasr-encoder", one that begins with "qwen3".
 * @throws CheckpointError  none or several of either kind
 */
export function findGgufPair(directory: string, names: readonly string[]): GgufPair {
  const one = (pattern: RegExp, wanted: string): string => {
    const found = names.filter((name) => pattern.test(name)).sort();
    if (found.length === 1) return found[0];
    const got = found.length === 0 ? "none" : found.join(", ");
    const advice =
      found.length === 0 ? "download both files of the pair" : "name the file that is meant, or keep one";
    throw new CheckpointError({ file: directory, field: wanted, expected: "one such file", got, advice });
  };
  return { encoder: one(GGUF_ENCODER, "funasr-encoder-*.gguf"), llm: one(GGUF_LLM, "qwen3-*.gguf") };
}

/**
 * Opens FunASR's encoder and adaptor beside Qwen3 of llama.cpp.
 * @param pair  default: what findGgufPair finds
 * @throws CheckpointError, ConfigError  a file is missing or damaged, or the two do not belong together
 */
export async function openGgufPair(files: ModelFiles, pair?: GgufPair): Promise<OpenedLayout> {
  const { encoder, llm } = pair ?? findGgufPair(files.name, await files.list());
  return withFiles(files, [encoder, llm], (opened) => {
    checkArchitecture(opened[0].file.metadata, ENCODER_ARCHITECTURE);
    checkArchitecture(opened[1].file.metadata, LLM_ARCHITECTURE);
    return pairLayout(files, opened);
  });
}

/** The layout of an open encoder and an open LLM, or of one file that holds both. @throws CheckpointError, ConfigError */
export async function pairLayout(files: ModelFiles, opened: readonly Opened[]): Promise<OpenedLayout> {
  const encoder = opened[0].file;
  const llm = opened[opened.length - 1].file;
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

/** Opens a Qwen3 of llama.cpp alone. @throws CheckpointError, ConfigError */
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

/** Tokenizer and generation from the LLM's metadata, or from files beside it where the metadata has none. */
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
    prompt: () => Promise.resolve({}), // FunASR's rules: the LLM's own chat template takes no audio
    ...(inside ? {} : { tokenizerFiles: files }),
  };
}

/** Opens files and hands them on; closes them again if that fails. */
export async function withFiles<T>(
  files: ModelFiles,
  names: readonly string[],
  use: (opened: Opened[]) => Promise<T>,
): Promise<T> {
  const opened: Opened[] = [];
  try {
    for (const name of names) {
      const source = await files.open(name);
      try {
        opened.push({ name, file: await openGguf(source) });
      } catch (error) {
        await source.close();
        throw error;
      }
    }
    return await use(opened);
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

async function closeAll(opened: readonly Opened[]): Promise<void> {
  for (const { file } of opened) await file.source.close();
}

function makeContainer(name: string, opened: readonly Opened[]): Container {
  const places = new Map<StoredTensor, { file: GgufFile; tensor: GgufTensor }>();
  const tensors = new Map<string, StoredTensor>();
  for (const one of opened) {
    const { file } = one;
    for (const tensor of file.tensors.values()) {
      if (tensors.has(tensor.name)) throw twice(file, tensor.name);
      const stored = describe(one, tensor);
      tensors.set(tensor.name, stored);
      places.set(stored, { file, tensor });
    }
  }
  return {
    name,
    layout: "gguf",
    tensors,
    metadata: new Map(opened.flatMap(({ file }) => [...file.metadata.texts()])),
    read: async (stored, byteOffset, byteLength, into) => {
      const place = places.get(stored);
      if (!place) {
        const field = tensorField(stored.name);
        throw new CheckpointError({
          file: name,
          field,
          expected: "a tensor of this container",
          got: "another's",
        });
      }
      const { file, tensor } = place;
      if (tensor.shape === stored.shape)
        return readGgufRange(file.source, tensor, byteOffset, byteLength, into);
      const taps = await transposed(file, tensor);
      return taps.slice(byteOffset, byteOffset + byteLength);
    },
    close: () => closeAll(opened),
  };
}

function twice(file: GgufFile, name: string): CheckpointError {
  const expected = "a name that the other file does not have";
  return new CheckpointError({
    file: file.source.name,
    field: tensorField(name),
    expected,
    got: "it in both",
  });
}

/** FSMN taps are stored as [taps, D], for ggml's sake: they are shown, and read, as the convolution [D, 1, taps]. */
function describe({ name: file, file: { source } }: Opened, tensor: GgufTensor): StoredTensor {
  const { name, dtype, shape, byteLength } = tensor;
  if (!FSMN.test(name) || shape.length !== 2) return { name, file, dtype, shape, byteLength };
  if (!isGgmlType(dtype)) return { name, file, dtype, shape: [shape[1], 1, shape[0]], byteLength };
  const field = tensorField(name, "type");
  throw new CheckpointError({ file: source.name, field, expected: "F32, F16 or BF16", got: dtype });
}

async function transposed({ source }: GgufFile, tensor: GgufTensor): Promise<Uint8Array> {
  const bytes = await readGgufRange(source, tensor, 0, tensor.byteLength);
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
