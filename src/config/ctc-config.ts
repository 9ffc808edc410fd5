import { checkpointError, tensorField } from "../formats/errors.js";
import { show } from "../json.js";

/** CTC head: two linears, bidirectional blocks, and a row of logits for each encoder state. */
export interface CtcConfig {
  /** D of the encoder. */
  readonly encoderSize: number;
  /** Width between the two linears (2048). */
  readonly projectorHiddenSize: number;
  /** D of the blocks (512). */
  readonly hiddenSize: number;
  readonly heads: number;
  /** F (128). */
  readonly intermediateSize: number;
  readonly layers: number;
  readonly layerNormEps: number;
  /** Tokens and the blank (60,515). */
  readonly vocabSize: number;
  readonly blankId: number;
}

/** What a config file says of the head; what is absent is FunASR's default, or read off the shapes. */
export interface CtcSettings {
  readonly heads?: number;
  readonly layers?: number;
  readonly blankId?: number;
  /** Name of the tiktoken file. */
  readonly tokenizerFile?: string;
}

/** A tensor of the head. */
export interface CtcTensor {
  /** FunASR's name, in files and errors. */
  readonly source: string;
  /** Canonical name. */
  readonly name: string;
  readonly shape: readonly number[];
}

const defaultHeads = 8;
const layerNormEps = 1e-12; // funasr's transformer.layer_norm
const mostLayers = 100;

/**
 * Every tensor of a CTC head.
 * @source funasr `llm_asr.adaptor.Transformer`, `fun_asr_nano.ctc.CTC`
 */
export function ctcTensors(c: CtcConfig): CtcTensor[] {
  const tensors: CtcTensor[] = [];
  const add = (source: string, name: string, ...shape: number[]): void => {
    const weight = shape.length > 1 ? shape : shape.slice(0, 1);
    tensors.push({ source: `${source}.weight`, name: `${name}.weight`, shape: weight });
    tensors.push({ source: `${source}.bias`, name: `${name}.bias`, shape: shape.slice(0, 1) });
  };
  const { hiddenSize: d, intermediateSize: f } = c;
  add("ctc_decoder.linear1", "ctc_decoder.linear_1", c.projectorHiddenSize, c.encoderSize);
  add("ctc_decoder.linear2", "ctc_decoder.linear_2", d, c.projectorHiddenSize);
  for (let i = 0; i < c.layers; i++) {
    const [from, to] = [`ctc_decoder.blocks.${i}`, `ctc_decoder.layers.${i}`];
    add(`${from}.norm1`, `${to}.input_layernorm`, d);
    for (const p of ["q", "k", "v"]) add(`${from}.self_attn.linear_${p}`, `${to}.self_attn.${p}_proj`, d, d);
    add(`${from}.self_attn.linear_out`, `${to}.self_attn.o_proj`, d, d);
    add(`${from}.norm2`, `${to}.post_attention_layernorm`, d);
    add(`${from}.feed_forward.w_1`, `${to}.mlp.fc1`, f, d);
    add(`${from}.feed_forward.w_2`, `${to}.mlp.fc2`, d, f);
  }
  add("ctc.ctc_lo", "ctc.ctc_lo", c.vocabSize, d);
  return tensors;
}

/**
 * The head's sizes, read off its tensors' shapes.
 * @param shapes  by FunASR's names
 * @param file    its name in errors
 * @throws CheckpointError  a tensor is missing, left over or of another shape, or the head is no such
 */
export function readCtcConfig(
  shapes: ReadonlyMap<string, readonly number[]>,
  encoderSize: number,
  settings: CtcSettings,
  file: string,
): CtcConfig {
  const matrix = (name: string): readonly number[] => {
    const shape = shapes.get(name);
    if (!shape) throw refusal(file, name, "a tensor of that name", `none (the head has ${shapes.size})`);
    if (shape.length === 2 && shape.every((n) => n > 0)) return shape;
    throw refusal(file, name, "a matrix", show(shape));
  };
  const blocks = [...shapes.keys()].map((name) =>
    Number(/^ctc_decoder\.blocks\.(\d{1,6})\./.exec(name)?.[1] ?? -1),
  );
  const layers = settings.layers ?? Math.max(-1, ...blocks) + 1;
  if (layers > mostLayers) throw checkpointError(file, "ctc_decoder.blocks", `at most ${mostLayers}`, layers);
  const [projectorHiddenSize] = matrix("ctc_decoder.linear1.weight");
  const [hiddenSize] = matrix("ctc_decoder.linear2.weight");
  const [vocabSize] = matrix("ctc.ctc_lo.weight");
  const intermediateSize = layers > 0 ? matrix("ctc_decoder.blocks.0.feed_forward.w_1.weight")[0] : 0;
  const heads = settings.heads ?? defaultHeads;
  if (hiddenSize % heads !== 0 || (hiddenSize / heads) % 4 !== 0)
    throw refusal(
      file,
      "ctc_decoder.linear2.weight",
      `${heads} heads of a multiple of 4`,
      `${hiddenSize} rows`,
    );
  const blankId = settings.blankId ?? vocabSize - 1;
  if (blankId >= vocabSize)
    throw checkpointError(file, "ctc_conf.blank_id", `an id below the head's ${vocabSize} rows`, blankId);
  const config = {
    encoderSize,
    projectorHiddenSize,
    hiddenSize,
    heads,
    intermediateSize,
    layers,
    layerNormEps,
    vocabSize,
    blankId,
  };
  checkCtc(ctcTensors(config), shapes, file);
  return config;
}

function checkCtc(
  table: readonly CtcTensor[],
  shapes: ReadonlyMap<string, readonly number[]>,
  file: string,
): void {
  const missing = table.filter(({ source }) => !shapes.has(source));
  const others = missing.length > 1 ? ` and ${missing.length - 1} more` : "";
  if (missing[0])
    throw refusal(file, missing[0].source, "a tensor of that name", `none${others} (of ${table.length})`);
  for (const { source, shape } of table)
    if (String(shapes.get(source)) !== String(shape))
      throw refusal(file, source, show(shape), show(shapes.get(source)));
  const known = new Set(table.map(({ source }) => source));
  const left = [...shapes.keys()].find((name) => !known.has(name));
  if (left !== undefined)
    throw refusal(file, left, `only the ${table.length} tensors of a CTC head`, "a left-over one");
}

function refusal(file: string, name: string, expected: string, got: string): Error {
  const advice = "the CTC head is incomplete or damaged; text alone needs none: leave word times out";
  return checkpointError(file, tensorField(name), expected, got, advice);
}
