import { show } from "../../json.js";
import { checkTable } from "../../config/expected-tensors.js";
import { ConfigReader } from "../../config/reader.js";
import { type VadConfig, inputDim, parseVadConfig, vadTensors } from "../../config/vad-config.js";
import type { Container } from "../../formats/container.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import { storedToFloat32 } from "../../formats/ggml-blocks.js";
import type { HeldTensor } from "../../weights/zero-extended.js";
import type { GgufMetadata } from "../gguf/metadata.js";
import { openSafetensorsContainer } from "../safetensors/container.js";
import { SINGLE } from "../safetensors/shards.js";
import { type ModelFiles, expectModelFiles, missingFile } from "../source.js";
import { readJson } from "./assets.js";
import { openTorchContainer } from "./funasr-weights.js";
import { checkArchitecture } from "./gguf-config.js";
import { makeContainer, withFiles } from "./gguf.js";
import { readYaml } from "./yaml.js";

/** An FSMN-VAD in memory: 1.7 MB at the released size. */
export interface VadCheckpoint {
  readonly name: string;
  readonly config: VadConfig;
  /** As vadTensors(config) lists them. */
  readonly tensors: ReadonlyMap<string, HeldTensor>;
}

const TORCH = "model.pt";
const MVN = "am.mvn";
const MAX_MVN = 1 << 20; // characters; the released file has 8,000

/**
 * Reads an FSMN-VAD: model.safetensors and config.json of this package; FunASR's model.pt,
 * config.yaml and am.mvn; or a GGUF file of FunASR's llama.cpp runtime.
 * @throws ConfigError      this engine cannot run the config
 * @throws CheckpointError  a file is missing or damaged, weights are in two forms, or tensors do
 *   not match the config
 */
export async function openVad(files: ModelFiles): Promise<VadCheckpoint> {
  expectModelFiles("openVad", files);
  const names = (await files.list()).filter(
    (name) => name === SINGLE || name === TORCH || /\.gguf$/i.test(name),
  );
  if (names.length > 1) {
    const advice = "keep one, or name the file that is meant";
    throw checkpointError(files.name, "weights", "one form of them", names.join(" beside "), advice);
  }
  const [found] = names;
  if (found === undefined) throw missingFile(files.name, `${SINGLE}, ${TORCH} or *.gguf`);
  if (found === SINGLE) return openSafetensorsVad(files);
  return found === TORCH ? openFunasrVad(files) : openGgufVad(files, found);
}

async function openSafetensorsVad(files: ModelFiles): Promise<VadCheckpoint> {
  const { json, file } = await readJson(files, "config.json");
  const top = ConfigReader.of(json, file);
  if (top.value("model_type") !== "fsmn_vad")
    throw top.refusal(
      "model_type",
      '"fsmn_vad"',
      top.value("model_type"),
      "is this a model of voice activity?",
    );
  const config = parseVadConfig(top);
  return held(await openSafetensorsContainer(files, () => "transformers"), config);
}

async function openFunasrVad(files: ModelFiles): Promise<VadCheckpoint> {
  const config = parseVadConfig(await readYaml(files, "config.yaml"));
  const file = `${files.name}/${MVN}`;
  const text = await files.readText(MVN, MAX_MVN);
  const vector = (name: string, field: string): [string, HeldTensor] => {
    const data = mvnVector(text, file, field, inputDim(config));
    return [name, { shape: [data.length], data }];
  };
  const mvn = new Map([vector("cmvn.shift", "<AddShift>"), vector("cmvn.scale", "<Rescale>")]);
  return held(await openTorchContainer(files), config, mvn);
}

/** The numbers in brackets behind a tag of am.mvn. @source funasr `load_cmvn` */
function mvnVector(text: string, file: string, tag: string, count: number): Float32Array {
  const start = text.indexOf("[", text.indexOf(tag) + 1);
  const words = text
    .slice(start + 1, text.indexOf("]", start))
    .split(/\s+/)
    .filter(Boolean);
  const values = Float32Array.from(words, Number);
  const found = text.includes(tag) && start >= 0 ? `${values.length}` : "none";
  if (found !== String(count)) throw checkpointError(file, tag, `${count} numbers in brackets`, found);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return values;
  throw checkpointError(file, `${tag} ${bad}`, "a finite number", show(words[bad]));
}

async function openGgufVad(files: ModelFiles, name: string): Promise<VadCheckpoint> {
  const { container, config } = await withFiles(files, [name], (opened) => {
    const { metadata, source } = opened[0].file;
    checkArchitecture(metadata, "fsmn-vad");
    const config = parseVadConfig(ConfigReader.of(ggufConfig(metadata), source.name));
    return Promise.resolve({ container: makeContainer(source.name, opened), config });
  });
  return held(container, config);
}

/** The keys of GGUF as config.yaml has them. */
function ggufConfig(metadata: GgufMetadata): Record<string, unknown> {
  const fields = (...names: readonly string[]): Record<string, number> =>
    Object.fromEntries(names.map((name) => [name, metadata.integer(`vad.${name}`)]));
  return {
    frontend_conf: fields("n_mels", "lfr_m", "lfr_n"),
    encoder_conf: fields(
      "input_dim",
      "input_affine_dim",
      "fsmn_layers",
      "linear_dim",
      "proj_dim",
      "lorder",
      "output_affine_dim",
      "output_dim",
    ),
  };
}

/** Reads all tensors and closes the files. @throws CheckpointError  they do not match the config */
async function held(
  container: Container,
  config: VadConfig,
  more: ReadonlyMap<string, HeldTensor> = new Map(),
): Promise<VadCheckpoint> {
  try {
    const table = vadTensors(config);
    const shapes = new Map(
      [...container.tensors].map(([name, t]) => [name, { dtype: t.dtype, shape: plain(t.shape) }]),
    );
    for (const [name, { shape }] of more) shapes.set(name, { dtype: "F32", shape });
    checkTable(table, shapes, container.name);
    const tensors = new Map(more);
    for (const [name, tensor] of container.tensors) {
      const bytes = await container.read(tensor, 0, tensor.byteLength);
      const data = storedToFloat32(bytes, tensor.dtype, `${container.name}: ${tensorField(name)}`);
      tensors.set(name, { shape: plain(tensor.shape), data });
    }
    return { name: container.name, config, tensors };
  } finally {
    await container.close();
  }
}

/** A shape without the last dimension of a 2-d convolution's taps. */
function plain(shape: readonly number[]): readonly number[] {
  return shape.length === 4 && shape[3] === 1 ? shape.slice(0, 3) : shape;
}
