import { finalNormLayers } from "./model-config.js";
import type { AdaptorConfig, EncoderConfig, LlmConfig, ModelParts } from "./model-config.js";
import { isGgmlType } from "../formats/container.js";
import type { GgmlType } from "../formats/container.js";
import { isFloatDtype } from "../formats/dtypes.js";
import type { Dtype } from "../formats/dtypes.js";
import { wrapperIn } from "./wrappers.js";
import { show } from "../json.js";
import { elementCount } from "../shape.js";
import { CheckpointError, tensorField } from "../formats/errors.js";

/** The tensor of an untied head, which a tied checkpoint may hold too. */
export const HEAD = "lm_head.weight";

type Add = (name: string, ...shape: number[]) => void;

/** Layers of a model at most, all parts together: a config is a stranger's, and every layer makes a dozen entries. The 8B has 108. */
const MAX_LAYERS = 1_000;

/**
 * Every tensor of a checkpoint with this config: canonical name → shape.
 * @param file  what errors call the checkpoint
 * @throws CheckpointError  the config asks for more than MAX_LAYERS
 * @source transformers 5.23, `FunAsrNanoForConditionalGeneration(config).state_dict()`
 */
export function expectedTensors(
  { encoder, adaptor, llm }: ModelParts,
  file = "checkpoint",
): Map<string, readonly number[]> {
  const layers = (encoder ? encoder.layers + encoder.tpLayers : 0) + (adaptor?.layers ?? 0) + llm.layers;
  if (layers > MAX_LAYERS) {
    const advice = "is the config damaged?";
    throw new CheckpointError({
      file,
      field: "layers",
      expected: `at most ${MAX_LAYERS}`,
      got: String(layers),
      advice,
    });
  }
  const table = new Map<string, readonly number[]>();
  const add: Add = (name, ...shape) => table.set(name, shape);
  if (encoder) addEncoder(add, encoder);
  if (encoder && adaptor) addAdaptor(add, adaptor, encoder.hiddenSize);
  addLlm(add, llm);
  return table;
}

/** Parameters of each part. A tied head counts 0: it is the embedding matrix, which `llm` holds. */
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

/** How a set of tensors differs from what its config asks for. */
export interface TensorDifferences {
  readonly missing: readonly string[];
  readonly leftOver: readonly string[];
  readonly wrongShape: readonly { name: string; expected: readonly number[]; got: readonly number[] }[];
  readonly wrongDtype: readonly { name: string; got: Dtype | GgmlType }[];
}

/** What `checkTensors` needs of a tensor; the map's keys are canonical names. */
export interface ShapedTensor {
  readonly dtype: Dtype | GgmlType;
  readonly shape: readonly number[];
}

/** Compares, and throws only what expectedTensors does. A head stored although the config ties it is no difference. */
export function compareTensors(
  config: ModelParts,
  tensors: ReadonlyMap<string, ShapedTensor>,
  file?: string,
): TensorDifferences {
  const expected = expectedTensors(config, file);
  const found = [...tensors].map(([name, { dtype, shape }]) => ({
    name,
    dtype,
    got: shape,
    expected: expected.get(name),
  }));
  return {
    missing: [...expected.keys()].filter((name) => !tensors.has(name)),
    leftOver: found
      .filter((t) => !t.expected && !(t.name === HEAD && config.llm.tiedHead))
      .map((t) => t.name),
    wrongShape: found.flatMap(({ name, expected: want, got }) =>
      want && !sameShape(want, got) ? [{ name, expected: want, got }] : [],
    ),
    wrongDtype: found.flatMap((t) =>
      t.expected && !isUsable(t.dtype, t.expected) ? [{ name: t.name, got: t.dtype }] : [],
    ),
  };
}

/**
 * Refuses a set of tensors that is not exactly what the config asks for.
 * @param file  what the error calls the checkpoint
 * @throws CheckpointError  one line: the first tensor that is missing, left over, of another shape or dtype, and how many of each
 */
export function checkTensors(
  config: ModelParts,
  tensors: ReadonlyMap<string, ShapedTensor>,
  file = "checkpoint",
): void {
  const { missing, leftOver, wrongShape, wrongDtype } = compareTensors(config, tensors, file);
  const counts = `${missing.length} missing, ${leftOver.length} left over, ${wrongShape.length} of another shape, ${tensors.size} in the file`;
  const wrapper = leftOver.map(wrapperIn).find((found) => found !== undefined);
  const advice =
    wrapper === undefined
      ? "do config.json and the weights belong together?"
      : `two names are the same without ${show(wrapper)}, which a wrapper adds: keep one of the two`;
  const refuse = (name: string, expected: string, got: string): never => {
    throw new CheckpointError({
      file,
      field: tensorField(name),
      expected,
      got: `${got} (${counts})`,
      advice,
    });
  };
  if (wrongShape[0]) refuse(wrongShape[0].name, show(wrongShape[0].expected), show(wrongShape[0].got));
  if (missing[0]) refuse(missing[0], "a tensor of that name", "none");
  if (leftOver[0]) refuse(leftOver[0], "only tensors that the config asks for", "a left-over one");
  if (wrongDtype[0]) refuse(wrongDtype[0].name, "F32, F16 or BF16", wrongDtype[0].got);
}

/** Floats of up to 32 bits; blocks for matrices only. */
function isUsable(dtype: Dtype | GgmlType, shape: readonly number[]): boolean {
  if (isGgmlType(dtype)) return shape.length === 2;
  return isFloatDtype(dtype) && dtype !== "F64";
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

function addEncoder(add: Add, c: EncoderConfig): void {
  const d = c.hiddenSize;
  const finals = finalNormLayers(c);
  for (let i = 0; i <= c.layers + c.tpLayers; i++) {
    const at = `model.audio_tower.layers.${i}`;
    addBlock(add, at, i === 0 ? c.inputSize : d, d, c.intermediateSize);
    add(`${at}.self_attn.fsmn.conv.weight`, d, 1, c.fsmnKernelSize);
    if (finals.includes(i)) addNorm(add, `${at}.final_layernorm`, d);
  }
}

function addAdaptor(add: Add, c: AdaptorConfig, encoderWidth: number): void {
  const at = "model.multi_modal_projector";
  addLinear(add, `${at}.linear_1`, encoderWidth, c.projectorHiddenSize);
  addLinear(add, `${at}.linear_2`, c.projectorHiddenSize, c.hiddenSize);
  for (let i = 0; i < c.layers; i++)
    addBlock(add, `${at}.layers.${i}`, c.hiddenSize, c.hiddenSize, c.intermediateSize);
}

/** Pre-norm attention and feed-forward, all with biases: encoder layers and adaptor blocks. */
function addBlock(add: Add, at: string, from: number, d: number, f: number): void {
  addNorm(add, `${at}.input_layernorm`, from);
  for (const p of ["q_proj", "k_proj", "v_proj"]) addLinear(add, `${at}.self_attn.${p}`, from, d);
  addLinear(add, `${at}.self_attn.o_proj`, d, d);
  addNorm(add, `${at}.post_attention_layernorm`, d);
  addLinear(add, `${at}.mlp.fc1`, d, f);
  addLinear(add, `${at}.mlp.fc2`, f, d);
}

function addNorm(add: Add, at: string, width: number): void {
  add(`${at}.weight`, width);
  add(`${at}.bias`, width);
}

function addLinear(add: Add, at: string, from: number, to: number): void {
  add(`${at}.weight`, to, from);
  add(`${at}.bias`, to);
}

function addLlm(add: Add, c: LlmConfig): void {
  const d = c.hiddenSize;
  add("model.language_model.embed_tokens.weight", c.vocabSize, d);
  for (let i = 0; i < c.layers; i++) {
    const at = `model.language_model.layers.${i}`;
    add(`${at}.input_layernorm.weight`, d);
    add(`${at}.self_attn.q_proj.weight`, c.heads * c.headDim, d);
    add(`${at}.self_attn.k_proj.weight`, c.kvHeads * c.headDim, d);
    add(`${at}.self_attn.v_proj.weight`, c.kvHeads * c.headDim, d);
    add(`${at}.self_attn.o_proj.weight`, d, c.heads * c.headDim);
    add(`${at}.self_attn.q_norm.weight`, c.headDim);
    add(`${at}.self_attn.k_norm.weight`, c.headDim);
    add(`${at}.post_attention_layernorm.weight`, d);
    add(`${at}.mlp.gate_proj.weight`, c.intermediateSize, d);
    add(`${at}.mlp.up_proj.weight`, c.intermediateSize, d);
    add(`${at}.mlp.down_proj.weight`, d, c.intermediateSize);
  }
  add("model.language_model.norm.weight", d);
  if (!c.tiedHead) add(HEAD, c.vocabSize, d);
}
