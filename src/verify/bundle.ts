import { expectArgument, hasMethods } from "../arguments.js";
import { CheckpointError } from "../formats/errors.js";
import { expectedTensors } from "../config/expected-tensors.js";
import { parseJsonObject } from "../checkpoint/json.js";
import {
  type SafetensorsFile,
  findTensor,
  openSafetensors,
  readFloat32,
  readTensor,
} from "../checkpoint/safetensors/safetensors.js";
import type { ByteSource } from "../checkpoint/source.js";
import { generateParameter } from "../checkpoint/weights.js";
import { type ModelConfig, parseModelConfig } from "../config/model-config.js";
import type { ParameterEntry, ParameterSource } from "../weights/loader.js";
import { toFloat32 } from "../formats/dtypes.js";
import { elementCount } from "../shape.js";

/** The stage at which a bundle begins; earlier stages are not computed. */
export const starts = [
  "input.source",
  "input.waveform",
  "input.features",
  "encoder.output",
  "input.token_ids",
  "llm.inputs_embeds",
] as const;
export type Start = (typeof starts)[number];

/** The task of a bundle. */
export const kinds = ["frontend", "encoder", "adaptor", "ctc", "llm", "model", "train", "vad"] as const;
export type Kind = (typeof kinds)[number];

/** An open golden bundle: one case of inputs and expected stages. Format: golden/README.md. */
export interface Bundle {
  readonly name: string;
  readonly start: Start;
  readonly file: SafetensorsFile;
  /** Stages to compare: all tensors but inputs, weights and the f64 twins. */
  readonly stages: readonly string[];
}

/** @throws CheckpointError  always */
export function refuse(bundle: { source: ByteSource }, field: string, expected: string, got: string): never {
  throw new CheckpointError({
    file: bundle.source.name,
    field,
    expected,
    got,
    advice: "see golden/README.md",
  });
}

/** A metadata value. @throws CheckpointError  it is missing */
export function metadata(bundle: Bundle, key: string): string {
  return bundle.file.metadata.get(key) ?? refuse(bundle.file, `metadata ${key}`, "a value", "none");
}

/** The bundle's task. @throws CheckpointError  it is missing or unknown */
export function bundleKind(bundle: Bundle): Kind {
  const kind = metadata(bundle, "kind");
  return (
    kinds.find((known) => known === kind) ??
    refuse(bundle.file, "metadata kind", `one of ${kinds.join(", ")}`, kind)
  );
}

/**
 * A whole number in the metadata, `otherwise` where it is not given.
 * @throws CheckpointError  it is no such number
 */
export function metadataCount(bundle: Bundle, key: string, otherwise: number): number {
  const text = bundle.file.metadata.get(key);
  if (text === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(text)) refuse(bundle.file, `metadata ${key}`, "a whole number", JSON.stringify(text));
  return Number(text);
}

/** Tensors that a run reads rather than computes, where it begins at this stage. */
function isInput(name: string, start: Start): boolean {
  if (name.startsWith("f64.") || name.startsWith("weights.")) return true;
  if (name.startsWith("input.answer")) return true;
  if (name === start || name.endsWith("segments") || name === "input.token_ids") return true;
  return name === "input.waveform" && start === "input.source";
}

/** @throws CheckpointError  no safetensors file, no known start, or nothing to compare */
export async function openBundle(source: ByteSource): Promise<Bundle> {
  const readable = hasMethods(source, "read", "close");
  expectArgument(
    "openBundle: source",
    readable,
    "a ByteSource, as await openFile(PATH) or bytesSource(NAME, BYTES) gives",
    source,
  );
  const file = await openSafetensors(source);
  const start = file.metadata.get("start");
  const known = starts.find((stage) => stage === start);
  if (!known) return refuse(file, "metadata start", `one of ${starts.join(", ")}`, start ?? "none");
  const stages = [...file.tensors.keys()].filter((name) => !isInput(name, known));
  if (stages.length === 0) refuse(file, "tensors", "at least one stage to compare", "none");
  return { name: file.metadata.get("case") ?? source.name, start: known, file, stages };
}

/** The model that a bundle was made with. @throws ConfigError, CheckpointError */
export function bundleConfig(bundle: Bundle): ModelConfig {
  const at = `${bundle.file.source.name}: metadata config`;
  const config = parseModelConfig(parseJsonObject(metadata(bundle, "config"), at, "content"), at);
  const rule = bundle.file.metadata.get("audio_token_rule") ?? config.audioTokenRule;
  if (rule !== "all" && rule !== "low_frame_rate") {
    return refuse(bundle.file, "metadata audio_token_rule", "all or low_frame_rate", rule);
  }
  return { ...config, audioTokenRule: rule };
}

/**
 * The parameters that a bundle holds, or that the seeded generator makes.
 * @throws CheckpointError
 */
export function bundleParameters(bundle: Bundle, config: ModelConfig): ParameterSource {
  return parametersOf(bundle, expectedTensors(config));
}

/** As `bundleParameters`, for parameters of these names and shapes. */
export function parametersOf(bundle: Bundle, shapes: Shapes): ParameterSource {
  const kind = metadata(bundle, "weights");
  if (kind === "bundle") return heldParameters(bundle);
  if (kind !== "generator") return refuse(bundle.file, "metadata weights", "bundle or generator", kind);
  return generated(shapes, metadataCount(bundle, "generator_seed", 0));
}

type Shapes = Iterable<readonly [name: string, shape: readonly number[]]>;

/**
 * A float tensor of the bundle as PyTorch's f32 run has it, row-major.
 * @throws CheckpointError  it is missing, or no float
 */
export async function readStage(
  { file }: Bundle,
  name: string,
): Promise<{ readonly shape: readonly number[]; readonly data: Float32Array }> {
  return { shape: findTensor(file, name).shape, data: await readFloat32(file, name) };
}

/**
 * One parameter of the bundle's model as f32, row-major.
 * @throws CheckpointError  the model has no such parameter
 */
export async function readParameter(bundle: Bundle, name: string): Promise<Float32Array> {
  const source = bundleParameters(bundle, bundleConfig(bundle));
  const entry = source.tensors.get(name) ?? refuse(bundle.file, name, "a parameter of the model", "none");
  return toFloat32(await source.read(entry, 0, entry.byteLength), entry.dtype, name);
}

function heldParameters({ file }: Bundle): ParameterSource {
  const prefix = "weights.";
  const tensors = new Map<string, ParameterEntry>();
  for (const [key, { dtype, shape, byteLength }] of file.tensors) {
    if (!key.startsWith(prefix)) continue;
    const name = key.slice(prefix.length);
    tensors.set(name, { name, dtype, shape, byteLength });
  }
  return {
    name: file.source.name,
    tensors,
    read: ({ name }, offset, length) => readTensor(file, prefix + name, offset, length),
  };
}

/** The seeded generator as a source of bf16 parameters; each is made when it is first read. */
export function generatedParameters(config: ModelConfig, seed: number): ParameterSource {
  return generated(expectedTensors(config), seed);
}

function generated(shapes: Shapes, seed: number): ParameterSource {
  const tensors = new Map<string, ParameterEntry>();
  for (const [name, shape] of shapes) {
    tensors.set(name, { name, dtype: "BF16", shape, byteLength: 2 * elementCount(shape) });
  }
  let made: { name: string; bytes: Uint8Array } | undefined;
  return {
    name: `generator with seed ${seed}`,
    tensors,
    read: ({ name, shape }, offset, length) => {
      if (made?.name !== name) made = { name, bytes: generateParameter(name, shape, seed, "bf16") };
      return Promise.resolve(made.bytes.subarray(offset, offset + length));
    },
  };
}

/**
 * An i64 tensor as numbers.
 * @throws CheckpointError  it is missing, not I64, or holds what is no u32
 */
export async function readIds({ file }: Bundle, name: string): Promise<number[]> {
  const { dtype } = findTensor(file, name);
  if (dtype !== "I64") refuse(file, name, "dtype I64", dtype);
  const bytes = await readTensor(file, name);
  const ids = [...new BigInt64Array(bytes.slice().buffer)].map(Number);
  if (ids.some((id) => !(id >= 0 && id <= 0xffffffff)))
    refuse(file, name, "values from 0 to 2^32 - 1", "others");
  return ids;
}

/**
 * Lengths of the clips or sequences from their offsets.
 * @throws CheckpointError  offsets that do not rise from 0
 */
export async function readLengths(bundle: Bundle, name: string, rows: number): Promise<number[]> {
  if (!bundle.file.tensors.has(name)) return [rows];
  const offsets = await readIds(bundle, name);
  const lengths = offsets.slice(1).map((offset, i) => offset - offsets[i]);
  if (offsets[0] !== 0 || offsets.at(-1) !== rows || lengths.some((length) => length < 1)) {
    refuse(bundle.file, name, `offsets that rise from 0 to ${rows}`, `[${offsets.join(", ")}]`);
  }
  return lengths;
}
