import { type WeightFormat, rowBytes, rowScaleBytes } from "../gpu/matrix.js";
import {
  type LlmConfig,
  type ModelConfig,
  countParameters,
  finalNormLayers,
} from "../config/model-config.js";
import type { Adapter } from "../presets.js";

/** Work of a step, counted from shapes. */
export interface Work {
  /** Bytes of weights. */
  readonly bytes: number;
  /** Of products with weights. */
  readonly flops: number;
  /** FLOPs of attention. */
  readonly attention: number;
  /** Bytes of keys and values that attention reads. */
  readonly cache: number;
  /** Bytes of what goes row by row or element by element: norms, memories, rotations, activations. */
  readonly elements: number;
  readonly calls: Calls;
}

/** Dispatches by what they do; `one`: all of one row. */
export interface Calls {
  readonly products: number;
  readonly attention: number;
  readonly elements: number;
  readonly one: boolean;
}

/** What a call costs at least depends on what it is: a product of several rows or of one, attention of several or of one, the rest. */
export type CallKind = "products" | "row" | "attention" | "cache" | "elements";

/** All dispatches. */
export function dispatches({ calls: { products, attention, elements } }: Work): number {
  return products + attention + elements;
}

/** Shares of an adapter's ceilings that the kernels reach. */
export interface Shares {
  /** Of the bandwidth, by one row against a matrix. */
  readonly bandwidth: number;
  /** Of the arithmetic, by several rows against a matrix. */
  readonly flops: number;
  /** Of the arithmetic, by attention of several rows. */
  readonly attention: number;
  /** Of the bandwidth, by attention of one row. */
  readonly cache: number;
  /** Of the bandwidth, by what goes row by row. */
  readonly elements: number;
  /** Seconds that a call costs at least. Absent: what a dispatch costs. */
  readonly calls?: Readonly<Record<CallKind, number>>;
}

/** The same shares of arithmetic and bandwidth for all kernels. */
export function evenShares(share: { readonly bandwidth: number; readonly flops: number }): Shares {
  const { bandwidth, flops } = share;
  return { bandwidth, flops, attention: flops, cache: bandwidth, elements: bandwidth };
}

/** Dispatches of the engine, counted: see predict.test.ts. */
const dispatchesOf = {
  /** Of a decoder layer: queries, keys and values; the attention's output; gate and up; down. The rest for one row: norms and turns. */
  decoderLayer: { products: 4, attention: 1, elements: 1 },
  /** More of a decoder layer for several rows: both norms and SwiGLU are then apart from the products. */
  severalRows: 3,
  /** Of a token's step beside its layers, in one piece each: the head; embedding, norm, choice. */
  token: { products: 1, elements: 3 },
  /** More of a prompt: the audio's rows put in, the last row of the last attention and of its input taken out; less the norm and SwiGLU of that row. */
  prompt: 3 - 2,
  /** Of an encoder layer: the rest is two norms, the memory, and a sum that the first layer lacks. */
  encoderLayer: { products: 6, attention: 1, elements: 4 },
  /** Of an adaptor block. */
  block: { products: 6, attention: 1, elements: 2 },
  /** Of encoder and adaptor beside these: the projector's two products; positions, less the sum of the first layer. */
  audio: { products: 2, elements: 0 },
} as const;

const framesPerSecond = 1 / 0.06;
const promptTokens = 24; // of text around the audio

const tileRows = 16; // of products and attention of several rows: the last tile is made whole

/** Rows that are computed for so many. */
function tiled(rows: number): number {
  return Math.ceil(rows / tileRows) * tileRows;
}

function stored(parameters: number, format: WeightFormat): number {
  return (parameters * (rowBytes(256, format) + rowScaleBytes(256, format))) / 256;
}

/** Weights of the decoder layers, of what follows the attention in one of them, and of the head. */
function decoderWeights(llm: LlmConfig): { layers: number; perRow: number; head: number } {
  const { hiddenSize: d, intermediateSize: f, heads, kvHeads, headDim } = llm;
  const perRow = d * heads * headDim + 3 * d * f;
  const layer = d * (heads + 2 * kvHeads) * headDim + perRow;
  return { layers: llm.layers * layer, perRow, head: llm.vocabSize * d };
}

/** Pieces that a matrix of these bytes is bound in, 128 MiB each at most, as on a device with WebGPU's least limits. */
function pieces(bytes: number): number {
  return Math.ceil(bytes / (128 << 20));
}

/** One token of one sequence. @param cached  tokens that its attention sees */
export function tokenWork(llm: LlmConfig, format: WeightFormat, cached: number): Work {
  const { layers, head } = decoderWeights(llm);
  const width = llm.heads * llm.headDim;
  const cache = 8 * llm.layers * cached * llm.kvHeads * llm.headDim;
  const { decoderLayer: layer, token } = dispatchesOf;
  const extra = 2 * (pieces(stored(head, format)) - 1);
  return {
    bytes: stored(layers + head, format),
    flops: 2 * (layers + head),
    attention: 4 * llm.layers * cached * width,
    cache,
    elements: 0, // in the products' dispatches, or a few thousand bytes
    calls: {
      products: llm.layers * layer.products + token.products + extra / 2,
      attention: llm.layers * layer.attention,
      elements: llm.layers * layer.elements + token.elements + extra / 2, // the embedding's pieces
      one: true,
    },
  };
}

/** Reading a prompt of so many tokens, and its first token. */
export function promptWork(llm: LlmConfig, format: WeightFormat, tokens: number): Work {
  const { layers, perRow, head } = decoderWeights(llm);
  const one = tokenWork(llm, format, tokens);
  const pairs = (tiled(tokens) * (tokens + 1)) / 2;
  const projected = (llm.heads + 2 * llm.kvHeads) * llm.headDim;
  return {
    bytes: one.bytes,
    flops: 2 * ((layers - perRow) * tiled(tokens) + perRow + head), // of the last layer's rows the last alone goes past the attention
    attention: 4 * llm.layers * pairs * llm.heads * llm.headDim,
    cache: one.cache,
    elements: 4 * llm.layers * tokens * (4 * llm.hiddenSize + 3 * llm.intermediateSize + 2 * projected),
    calls: {
      ...one.calls,
      elements: one.calls.elements + llm.layers * dispatchesOf.severalRows + dispatchesOf.prompt,
      one: false,
    },
  };
}

/** Encoder and adaptor over a clip. */
export function audioWork(config: ModelConfig, format: WeightFormat, seconds: number): Work {
  const { encoder: e, adaptor: a } = config;
  const frames = Math.ceil(seconds * framesPerSecond);
  const counts = countParameters(config);
  const blocks = 1 + e.layers + e.tpLayers;
  const { encoderLayer: layer, block, audio } = dispatchesOf;
  const finalNorms = finalNormLayers(e).length;
  const width = blocks * e.hiddenSize + a.layers * a.hiddenSize;
  return {
    bytes: stored(counts.encoder + counts.adaptor, format),
    flops: 2 * tiled(frames) * (counts.encoder + counts.adaptor),
    attention: 4 * tiled(frames) * frames * width,
    cache: 8 * frames * width,
    elements: 4 * frames * (9 * blocks * e.hiddenSize + 4 * a.layers * a.hiddenSize), // 2 norms; memory and its sum
    calls: {
      products: blocks * layer.products + a.layers * block.products + audio.products,
      attention: blocks * layer.attention + a.layers * block.attention,
      elements: blocks * layer.elements + a.layers * block.elements + audio.elements + finalNorms,
      one: false,
    },
  };
}

/** Seconds: of products and of attention the slower of arithmetic and memory each; then what goes row by row, and what calls cost at least. */
export function workSeconds(work: Work, adapter: Adapter, shares: Shares): number {
  const arithmetic = (flops: number, share: number): number => flops / (adapter.flops * share);
  const memory = (bytes: number, share: number): number => bytes / (adapter.bandwidth * share);
  return (
    Math.max(arithmetic(work.flops, shares.flops), memory(work.bytes, shares.bandwidth)) +
    Math.max(arithmetic(work.attention, shares.attention), memory(work.cache, shares.cache)) +
    memory(work.elements, shares.elements) +
    callSeconds(work.calls, adapter, shares)
  );
}

function callSeconds(
  { products, attention, elements, one }: Calls,
  adapter: Adapter,
  shares: Shares,
): number {
  const least = (kind: CallKind): number => shares.calls?.[kind] ?? adapter.dispatch;
  return (
    products * least(one ? "row" : "products") +
    attention * least(one ? "cache" : "attention") +
    elements * least("elements")
  );
}

export interface Prediction {
  /** Seconds a token, all those before it cached. */
  readonly token: number;
  /** Seconds of a clip. */
  readonly clip: number;
  /** Seconds of computing for a second of audio. */
  readonly rtf: number;
}

/** Seconds of the stages of a clip alone. */
export interface StageSeconds {
  /** Encoder and adaptor. */
  readonly audio: number;
  /** Reading the prompt, and the first token. */
  readonly prompt: number;
  /** Each token after it. */
  readonly token: number;
}

export interface ClipSizes {
  /** Seconds of audio. */
  readonly seconds: number;
  /** Tokens of the answer. */
  readonly tokens: number;
}

/** Tokens of a clip's prompt, one for each 60 ms of audio. */
export function promptLength(seconds: number): number {
  return promptTokens + Math.ceil(seconds * framesPerSecond);
}

/** The stages of a clip; the token is the one in the middle of the answer. */
export function predictStages(
  config: ModelConfig,
  format: WeightFormat,
  { seconds, tokens }: ClipSizes,
  adapter: Adapter,
  shares: Shares,
): StageSeconds {
  const time = (work: Work): number => workSeconds(work, adapter, shares);
  const prompt = promptLength(seconds);
  const { readback = 0 } = adapter; // of a token it comes while the next is made
  return {
    audio: readback + time(audioWork(config, format, seconds)),
    prompt: readback + time(promptWork(config.llm, format, prompt)),
    token: time(tokenWork(config.llm, format, prompt + Math.ceil(tokens / 2))),
  };
}

/** A clip of so many seconds with so many tokens in its answer, alone. */
export function predict(
  config: ModelConfig,
  format: WeightFormat,
  sizes: ClipSizes,
  adapter: Adapter,
  shares: Shares,
): Prediction {
  const { audio, prompt, token } = predictStages(config, format, sizes, adapter, shares);
  const clip = audio + prompt + (sizes.tokens - 1) * token;
  return { token, clip, rtf: clip / sizes.seconds };
}
