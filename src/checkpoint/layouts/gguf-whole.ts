import { show } from "../../json.js";
import { elementCount } from "../../shape.js";
import type { StoredTensor } from "../../formats/container.js";
import { type CheckpointError, checkpointError, tensorField } from "../../formats/errors.js";
import type { GgufFile, GgufTensor } from "../gguf/gguf.js";
import type { OpenedLayout } from "./layout.js";
import { type ModelFiles, memoryFiles, readRange } from "../source.js";
import { type Opened, isGgufWeights, pairLayout, withFiles } from "./gguf.js";
import { transformersLayout } from "./transformers.js";

/** The architecture and the keys of audio.cpp's converter. */
const AUDIO_CPP = "audiocpp";
const NAMES = "audiocpp.tensor_names";
const RANKS = "audiocpp.tensor_ranks";
const SHAPES = "audiocpp.tensor_shapes";
const FILES = "audiocpp.embedded_files.names";
const TEXTS = "audiocpp.embedded_files.contents";
const DATA = "audiocpp.embedded_files.data";
const OFFSETS = "audiocpp.embedded_files.offsets";

/** A model in one file: a pair's names, or audio.cpp's packing of the transformers layout. */
type OneFileForm = "pair" | "audio.cpp";

/**
 * The only GGUF file of a directory without other weights. A voice activity detector does not
 * count.
 * @returns undefined  none or several, or other weights
 */
export function onlyGguf(names: readonly string[]): string | undefined {
  const found = names.filter((name) => /\.gguf$/i.test(name) && !/vad/i.test(name));
  const others = names.some((name) => /\.(safetensors|pt)$|\.safetensors\.index\.json$/.test(name));
  return found.length === 1 && !others ? found[0] : undefined;
}

/**
 * Whether a GGUF file has encoder, adaptor and LLM.
 * @throws CheckpointError  the file is damaged
 */
export async function isWholeGguf(files: ModelFiles, name: string): Promise<boolean> {
  return withFiles(files, [name], async ([{ file }]) => {
    await file.source.close();
    return findForm(file) !== undefined;
  });
}

/**
 * Opens a Fun-ASR in one GGUF file.
 * @returns undefined  the file is one of a pair, by its name
 * @throws CheckpointError, ConfigError  the file is damaged, or is not a Fun-ASR
 */
export async function openWholeGguf(files: ModelFiles, name: string): Promise<OpenedLayout | undefined> {
  return withFiles(files, [name], async (opened) => {
    const [{ file }] = opened;
    const form = findForm(file);
    if (form === "pair") return pairLayout(files, opened);
    if (form === "audio.cpp") return audioCppLayout(files, opened[0]);
    if (!isGgufWeights(name)) throw notWhole(file);
    await file.source.close();
    return undefined;
  });
}

function findForm({ metadata, tensors }: GgufFile): OneFileForm | undefined {
  if (metadata.value("general.architecture") === AUDIO_CPP) return "audio.cpp";
  const has = (prefix: string): boolean => [...tensors.keys()].some((name) => name.startsWith(prefix));
  return ["audio_encoder.", "audio_adaptor.", "token_embd."].every(has) ? "pair" : undefined;
}

function notWhole({ source, metadata, tensors }: GgufFile): CheckpointError {
  return checkpointError(
    source.name,
    "content",
    "a whole Fun-ASR",
    `${show(metadata.value("general.architecture"))}, ${tensors.size} tensors`,
    "a GGUF model is one such file, or a pair, funasr-encoder-*.gguf and qwen3-*.gguf: download both",
  );
}

/**
 * The transformers layout in one file. The metadata has the names and shapes of tensors that exceed
 * ggml's limits, and the other files of the directory, unless they are beside it.
 * @source audio.cpp `src/framework/assets/tensor_source.cpp`, convert_tensor_sources_to_gguf
 */
async function audioCppLayout(files: ModelFiles, { name, file }: Opened): Promise<OpenedLayout> {
  const ranges = new Map<StoredTensor, GgufTensor>();
  const tensors = new Map<string, StoredTensor>();
  for (const [tensor, stored] of originalTensors(file, name)) {
    if (tensors.has(stored.name))
      throw file.metadata.refusal(NAMES, "every name once", `${show(stored.name)} is there twice`);
    tensors.set(stored.name, stored);
    ranges.set(stored, tensor);
  }
  const beside = file.metadata.has(FILES) ? memoryFiles(`${files.name}/${name}`, embedded(file)) : files;
  return transformersLayout(beside, {
    name: files.name,
    layout: "gguf",
    tensors,
    metadata: file.metadata.texts(),
    read: (stored, at, length, into) => readRange(file.source, ranges.get(stored)!, at, length, into),
    close: () => file.source.close(),
  });
}

/** The tensors with the names and shapes of the transformers layout. */
function* originalTensors(
  { metadata, tensors }: GgufFile,
  file: string,
): Iterable<[GgufTensor, StoredTensor]> {
  const names = metadata.has(NAMES) ? metadata.strings(NAMES) : [...tensors.keys()];
  if (names.length !== tensors.size) throw metadata.refusal(NAMES, `${tensors.size} names`);
  const ranks = metadata.has(RANKS) ? metadata.counts(RANKS) : undefined;
  if (ranks && ranks.length !== tensors.size) throw metadata.refusal(RANKS, `${tensors.size} ranks`);
  const sizes = ranks ? metadata.counts(SHAPES) : [];
  let start = 0;
  for (const [index, tensor] of [...tensors.values()].entries()) {
    const rank = ranks?.[index] ?? 0;
    const shape = ranks ? sizes.slice(start, start + rank) : tensor.shape;
    start += rank;
    const name = names[index];
    if (elementCount(shape) !== elementCount(tensor.shape))
      throw metadata.refusal(SHAPES, `the shape of ${tensorField(name)}, ${show(tensor.shape)}`);
    yield [tensor, { name, file, dtype: tensor.dtype, shape, byteLength: tensor.byteLength }];
  }
}

/** The other files of the directory by path. */
function embedded({ metadata }: GgufFile): Map<string, Uint8Array> {
  const names = metadata.strings(FILES);
  const contents = metadata.has(TEXTS)
    ? metadata.strings(TEXTS).map((text) => new TextEncoder().encode(text))
    : splitData(metadata);
  if (contents.length !== names.length) throw metadata.refusal(FILES, `${contents.length} names`);
  return new Map(names.map((name, i) => [name, contents[i]]));
}

function splitData(metadata: GgufFile["metadata"]): Uint8Array[] {
  const data = metadata.bytes(DATA);
  const offsets = metadata.counts(OFFSETS);
  const rising = offsets.every((offset, i) => offset >= (offsets[i - 1] ?? 0) && offset <= data.byteLength);
  if (!rising) throw metadata.refusal(OFFSETS, `rising offsets within ${data.byteLength} bytes`);
  return offsets.slice(1).map((end, i) => data.subarray(offsets[i], end));
}
