import { show } from "../../json.js";
import { elementCount } from "../../shape.js";
import type { StoredTensor } from "../../formats/container.js";
import { CheckpointError, tensorField } from "../../formats/errors.js";
import { type GgufFile, type GgufTensor, readGgufRange } from "../gguf/gguf.js";
import type { OpenedLayout } from "./layout.js";
import { type ModelFiles, memoryFiles } from "../source.js";
import { type Opened, isGgufWeights, pairLayout, withFiles } from "./gguf.js";
import { transformersLayout } from "./transformers.js";

/** What audio.cpp's converter calls its files, and the keys that it writes. */
const AUDIO_CPP = "audiocpp";
const NAMES = "audiocpp.tensor_names";
const RANKS = "audiocpp.tensor_ranks";
const SHAPES = "audiocpp.tensor_shapes";
const FILES = "audiocpp.embedded_files.names";
const TEXTS = "audiocpp.embedded_files.contents";
const DATA = "audiocpp.embedded_files.data";
const OFFSETS = "audiocpp.embedded_files.offsets";

/** How a file holds a whole Fun-ASR: under the names of the pair, or as audio.cpp packs the transformers layout. */
type Whole = "pair" | "audio.cpp";

/**
 * The GGUF file of a directory that may hold a whole model: the only one, where no other weights are. A voice activity detector does not count.
 * @returns undefined  none, or several
 */
export function onlyGguf(names: readonly string[]): string | undefined {
  const found = names.filter((name) => /\.gguf$/i.test(name) && !/vad/i.test(name));
  const others = names.some((name) => /\.(safetensors|pt)$|\.safetensors\.index\.json$/.test(name));
  return found.length === 1 && !others ? found[0] : undefined;
}

/** Whether a GGUF file holds encoder, adaptor and LLM. @throws CheckpointError  it is damaged */
export async function isWholeGguf(files: ModelFiles, name: string): Promise<boolean> {
  return withFiles(files, [name], async ([{ file }]) => {
    await file.source.close();
    return wholeKind(file) !== undefined;
  });
}

/**
 * Opens a Fun-ASR in one GGUF file.
 * @returns undefined  the file has a name of the pair's and is one half
 * @throws CheckpointError, ConfigError  the file is damaged, or holds something else
 */
export async function openWholeGguf(files: ModelFiles, name: string): Promise<OpenedLayout | undefined> {
  return withFiles(files, [name], async (opened) => {
    const [one] = opened;
    const whole = wholeKind(one.file);
    if (whole === "pair") return pairLayout(files, opened);
    if (whole === "audio.cpp") return audioCppLayout(files, one);
    if (!isGgufWeights(name)) throw notWhole(one.file);
    await one.file.source.close();
    return undefined;
  });
}

function wholeKind({ metadata, tensors }: GgufFile): Whole | undefined {
  if (metadata.value("general.architecture") === AUDIO_CPP) return "audio.cpp";
  const holds = (start: string): boolean => [...tensors.keys()].some((name) => name.startsWith(start));
  return ["audio_encoder.", "audio_adaptor.", "token_embd."].every(holds) ? "pair" : undefined;
}

function notWhole({ source, metadata, tensors }: GgufFile): CheckpointError {
  return new CheckpointError({
    file: source.name,
    field: "content",
    expected: "a whole Fun-ASR",
    got: `${show(metadata.value("general.architecture"))}, ${tensors.size} tensors`,
    advice: "a GGUF model is one such file, or a pair, funasr-encoder-*.gguf and qwen3-*.gguf: download both",
  });
}

/**
 * The transformers layout in one file: tensors under their own names and shapes in the metadata, where ggml's limits change them, and the
 * other files of the directory in the metadata too, or beside it.
 * @source audio.cpp `src/framework/assets/tensor_source.cpp`, convert_tensor_sources_to_gguf
 */
async function audioCppLayout(files: ModelFiles, { name, file }: Opened): Promise<OpenedLayout> {
  const places = new Map<StoredTensor, GgufTensor>();
  const tensors = new Map<string, StoredTensor>();
  for (const [tensor, stored] of ownNames(file, name)) {
    if (tensors.has(stored.name))
      throw file.metadata.refusal(NAMES, "every name once", `${show(stored.name)} is there twice`);
    tensors.set(stored.name, stored);
    places.set(stored, tensor);
  }
  const beside = file.metadata.has(FILES) ? memoryFiles(`${files.name}/${name}`, embedded(file)) : files;
  return transformersLayout(beside, {
    name: files.name,
    layout: "gguf",
    tensors,
    metadata: file.metadata.texts(),
    read: (stored, at, length, into) => readGgufRange(file.source, places.get(stored)!, at, length, into),
    close: () => file.source.close(),
  });
}

function* ownNames({ metadata, tensors }: GgufFile, file: string): Iterable<[GgufTensor, StoredTensor]> {
  const names = metadata.has(NAMES) ? metadata.strings(NAMES) : [...tensors.keys()];
  if (names.length !== tensors.size) throw metadata.refusal(NAMES, `${tensors.size} names`);
  const ranks = metadata.has(RANKS) ? metadata.counts(RANKS) : undefined;
  if (ranks && ranks.length !== tensors.size) throw metadata.refusal(RANKS, `${tensors.size} ranks`);
  const sizes = ranks ? metadata.counts(SHAPES) : [];
  let at = 0;
  let index = 0;
  for (const tensor of tensors.values()) {
    const rank = ranks?.[index] ?? 0;
    const shape = ranks ? sizes.slice(at, at + rank) : tensor.shape;
    at += rank;
    const name = names[index++];
    if (elementCount(shape) !== elementCount(tensor.shape))
      throw metadata.refusal(SHAPES, `the shape of ${tensorField(name)}, ${show(tensor.shape)}`);
    yield [tensor, { name, file, dtype: tensor.dtype, shape, byteLength: tensor.byteLength }];
  }
}

/** The other files of the directory, by their paths in it. */
function embedded({ metadata }: GgufFile): Map<string, Uint8Array> {
  const names = metadata.strings(FILES);
  const contents = metadata.has(TEXTS)
    ? metadata.strings(TEXTS).map((text) => new TextEncoder().encode(text))
    : cut(metadata);
  if (contents.length !== names.length) throw metadata.refusal(FILES, `${contents.length} names`);
  return new Map(names.map((name, i) => [name, contents[i]]));
}

function cut(metadata: GgufFile["metadata"]): Uint8Array[] {
  const data = metadata.bytes(DATA);
  const offsets = metadata.counts(OFFSETS);
  const rising = offsets.every((offset, i) => offset >= (offsets[i - 1] ?? 0) && offset <= data.byteLength);
  if (!rising) throw metadata.refusal(OFFSETS, `rising offsets within ${data.byteLength} bytes`);
  return offsets.slice(1).map((end, i) => data.subarray(offsets[i], end));
}
