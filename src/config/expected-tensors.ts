import { finalNormLayers } from "./model-config.js";
import type { AdaptorConfig, EncoderConfig, LlmConfig, ModelParts } from "./model-config.js";
import { isGgmlType } from "../formats/container.js";
import type { GgmlType } from "../formats/container.js";
import { isFloatDtype } from "../formats/dtypes.js";
import type { Dtype } from "../formats/dtypes.js";
import { wrapperIn } from "./wrappers.js";
import { show } from "../json.js";
import { elementCount } from "../shape.js";
import { checkpointError, tensorField } from "../formats/errors.js";

/** The tensor of an untied head. A tied checkpoint may store it too. */
export const HEAD = "lm_head.weight";

type Add = (name: string, ...shape: number[]) => void;

/** Most layers, all parts together: each makes a dozen entries. The 8B has 108. */
const MAX_LAYERS = 1_000;

/**
 * Every tensor of a checkpoint with this config: canonical name → shape.
 * @param file  name of the checkpoint in errors
 * @throws CheckpointError  more than MAX_LAYERS
 * @source transformers 5.23, `FunAsrNanoForConditionalGeneration(config).state_dict()`
 */
export function expectedTensors(
  { encoder, adaptor, llm }: ModelParts,
  file = "checkpoint",
): Map<string, readonly number[]> {
  const layers = (encoder ? encoder.layers + encoder.tpLayers : 0) + (adaptor?.layers ?? 0) + llm.layers;
  if (layers > MAX_LAYERS) {
    const expected = `at most ${MAX_LAYERS}`;
    const advice = "is the config damaged?";
    throw checkpointError(file, "layers", expected, layers, advice);
  }
  const table = new Map<string, readonly number[]>();
  const add: Add = (name, ...shape) => table.set(name, shape);
  if (encoder) addEncoder(add, encoder);
  if (encoder && adaptor) addAdaptor(add, adaptor, encoder.hiddenSize);
  addLlm(add, llm);
  return table;
}

/** Parameters of each part. A tied head counts 0: `llm` counts its matrix. */
export interface ParameterCount {
  encoder: number;
  adaptor: number;
  llm: number;
  head: number;
}

const parts: readonly (readonly [keyof ParameterCount, string])[] = [
  ["encoder", "model.audio_tower."],
  ["adaptor", "model.multi_modal_projector."],
  ["llm", "model.language_model."],
  ["head", HEAD],
];

/** Parameters of a checkpoint with this config. */
export function countParameters(config: ModelParts): ParameterCount {
  const counts = { encoder: 0, adaptor: 0, llm: 0, head: 0 };
  for (const [name, shape] of expectedTensors(config)) {
    const [part] = parts.find(([, prefix]) => name.startsWith(prefix))!;
    counts[part] += elementCount(shape);
  }
  return counts;
}

/** The properties of a tensor that `checkTensors` reads. The map's keys are canonical names. */
export interface ShapedTensor {
  readonly dtype: Dtype | GgmlType;
  readonly shape: readonly number[];
}

/**
 * Refuses a set of tensors that differs from its config. A tied checkpoint may store its head.
 * @param file  name of the checkpoint in the error
 * @throws CheckpointError  as `checkTable`
 */
export function checkTensors(
  config: ModelParts,
  tensors: ReadonlyMap<string, ShapedTensor>,
  file = "checkpoint",
): void {
  const storedHead = config.llm.tiedHead && tensors.has(HEAD) ? [HEAD] : [];
  checkTable(expectedTensors(config, file), tensors, file, new Set(storedHead));
}

/**
 * Refuses a set of tensors that differs from a table of names and shapes.
 * @param file  name of the checkpoint in the error
 * @param more  names that may be there too
 * @throws CheckpointError  names the first tensor of another shape, that is missing, left over, or
 *   of another dtype, and counts them
 */
export function checkTable(
  table: ReadonlyMap<string, readonly number[]>,
  tensors: ReadonlyMap<string, ShapedTensor>,
  file: string,
  more: ReadonlySet<string> = new Set(),
): void {
  const found = [...tensors].flatMap(([name, { dtype, shape }]) => {
    const expected = table.get(name);
    return expected ? [{ name, expected, shape, dtype }] : [];
  });
  const missing = [...table.keys()].filter((name) => !tensors.has(name));
  const leftOver = [...tensors.keys()].filter((name) => !table.has(name) && !more.has(name));
  const wrongShape = found.filter(({ expected, shape }) => String(expected) !== String(shape));
  const wrongDtype = found.filter(({ expected, dtype }) => !isUsable(dtype, expected));
  const counts = `${missing.length} missing, ${leftOver.length} left over, ${wrongShape.length} of another shape, ${tensors.size} in the file`;
  const wrapper = leftOver.map(wrapperIn).find((wrapped) => wrapped !== undefined);
  const advice =
    wrapper === undefined
      ? "do config.json and the weights belong together?"
      : `two names are the same without ${show(wrapper)}, which a wrapper adds: keep one of the two`;
  const refuse = (name: string, expected: string, got: string): never => {
    throw checkpointError(file, tensorField(name), expected, `${got} (${counts})`, advice);
  };
  if (wrongShape[0]) refuse(wrongShape[0].name, show(wrongShape[0].expected), show(wrongShape[0].shape));
  if (missing[0]) refuse(missing[0], "a tensor of that name", "none");
  if (leftOver[0]) refuse(leftOver[0], "only tensors that the config asks for", "a left-over one");
  if (wrongDtype[0]) refuse(wrongDtype[0].name, "F32, F16 or BF16", wrongDtype[0].dtype);
}

/** True for floats of up to 32 bits, and for blocks of a matrix. */
function isUsable(dtype: Dtype | GgmlType, shape: readonly number[]): boolean {
  return isGgmlType(dtype) ? shape.length === 2 : isFloatDtype(dtype) && dtype !== "F64";
}

function addEncoder(add: Add, c: EncoderConfig): void {
  const d = c.hiddenSize;
  const finals = finalNormLayers(c);
  for (let i = 0; i <= c.layers + c.tpLayers; i++) {
    const layer = `model.audio_tower.layers.${i}`;
    addBlock(add, layer, i === 0 ? c.inputSize : d, d, c.intermediateSize);
    add(`${layer}.self_attn.fsmn.conv.weight`, d, 1, c.fsmnKernelSize);
    if (finals.includes(i)) addNorm(add, `${layer}.final_layernorm`, d);
  }
}

function addAdaptor(add: Add, c: AdaptorConfig, encoderWidth: number): void {
  const adaptor = "model.multi_modal_projector";
  addLinear(add, `${adaptor}.linear_1`, encoderWidth, c.projectorHiddenSize);
  addLinear(add, `${adaptor}.linear_2`, c.projectorHiddenSize, c.hiddenSize);
  for (let i = 0; i < c.layers; i++)
    addBlock(add, `${adaptor}.layers.${i}`, c.hiddenSize, c.hiddenSize, c.intermediateSize);
}

/** Pre-norm attention and feed-forward with biases, of encoder layers and adaptor blocks. */
function addBlock(add: Add, layer: string, from: number, d: number, f: number): void {
  addNorm(add, `${layer}.input_layernorm`, from);
  for (const p of ["q_proj", "k_proj", "v_proj"]) addLinear(add, `${layer}.self_attn.${p}`, from, d);
  addLinear(add, `${layer}.self_attn.o_proj`, d, d);
  addNorm(add, `${layer}.post_attention_layernorm`, d);
  addLinear(add, `${layer}.mlp.fc1`, d, f);
  addLinear(add, `${layer}.mlp.fc2`, f, d);
}

function addNorm(add: Add, name: string, width: number): void {
  add(`${name}.weight`, width);
  add(`${name}.bias`, width);
}

function addLinear(add: Add, name: string, from: number, to: number): void {
  add(`${name}.weight`, to, from);
  add(`${name}.bias`, to);
}

function addLlm(add: Add, c: LlmConfig): void {
  const d = c.hiddenSize;
  add("model.language_model.embed_tokens.weight", c.vocabSize, d);
  for (let i = 0; i < c.layers; i++) {
    const layer = `model.language_model.layers.${i}`;
    add(`${layer}.input_layernorm.weight`, d);
    add(`${layer}.self_attn.q_proj.weight`, c.heads * c.headDim, d);
    add(`${layer}.self_attn.k_proj.weight`, c.kvHeads * c.headDim, d);
    add(`${layer}.self_attn.v_proj.weight`, c.kvHeads * c.headDim, d);
    add(`${layer}.self_attn.o_proj.weight`, d, c.heads * c.headDim);
    add(`${layer}.self_attn.q_norm.weight`, c.headDim);
    add(`${layer}.self_attn.k_norm.weight`, c.headDim);
    add(`${layer}.post_attention_layernorm.weight`, d);
    add(`${layer}.mlp.gate_proj.weight`, c.intermediateSize, d);
    add(`${layer}.mlp.up_proj.weight`, c.intermediateSize, d);
    add(`${layer}.mlp.down_proj.weight`, d, c.intermediateSize);
  }
  add("model.language_model.norm.weight", d);
  if (!c.tiedHead) add(HEAD, c.vocabSize, d);
}
