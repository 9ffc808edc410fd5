import { type WeightFormat, rowBytes, rowScaleBytes } from "../gpu/matrix.js";
import { type LlmConfig, type ModelConfig, countParameters } from "../model/config.js";
import type { Adapter } from "../presets.js";

/** Work of a step, counted from shapes. */
export interface Work {
  readonly bytes: number;
  readonly flops: number;
  readonly dispatches: number;
}

/** Shares of an adapter's ceilings that the kernels reach. */
export interface Shares {
  readonly bandwidth: number;
  readonly flops: number;
}

/** Dispatches of the engine, counted: see predict.test.ts. */
export const dispatchesOf = {
  /** Of a decoder layer, for one row. */
  decoderLayer: 6,
  /** More of a decoder layer for several rows: both norms and SwiGLU are then apart from the products. */
  severalRows: 3,
  /** Of a token's step beside its layers, head and embedding in one piece each: these, the norm, the choice. */
  token: 4,
  /** Of an encoder or adaptor block with an FSMN memory. */
  block: 11,
} as const;

const framesPerSecond = 1 / 0.06;
const promptTokens = 24; // of text around the audio

function stored(parameters: number, format: WeightFormat): number {
  return (parameters * (rowBytes(256, format) + rowScaleBytes(256, format))) / 256;
}

/** Weights of the decoder layers, and of the head. */
function decoderWeights(llm: LlmConfig): { layers: number; head: number } {
  const { hiddenSize: d, intermediateSize: f, heads, kvHeads, headDim } = llm;
  const layer = d * (2 * heads + 2 * kvHeads) * headDim + 3 * d * f;
  return { layers: llm.layers * layer, head: llm.vocabSize * d };
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
  const extra = 2 * (pieces(stored(head, format)) - 1);
  return {
    bytes: stored(layers + head, format) + cache,
    flops: 2 * (layers + head) + 4 * llm.layers * cached * width,
    dispatches: llm.layers * dispatchesOf.decoderLayer + dispatchesOf.token + extra,
  };
}

/** Reading a prompt of so many tokens, and its first token. */
export function promptWork(llm: LlmConfig, format: WeightFormat, tokens: number): Work {
  const { layers, head } = decoderWeights(llm);
  const one = tokenWork(llm, format, tokens);
  const pairs = (tokens * (tokens + 1)) / 2;
  return {
    bytes: one.bytes,
    flops: 2 * (layers * tokens + head) + 4 * llm.layers * pairs * llm.heads * llm.headDim,
    dispatches: one.dispatches + llm.layers * dispatchesOf.severalRows,
  };
}

/** Encoder and adaptor over a clip. */
export function audioWork(config: ModelConfig, format: WeightFormat, seconds: number): Work {
  const { encoder: e, adaptor: a } = config;
  const frames = Math.ceil(seconds * framesPerSecond);
  const counts = countParameters(config);
  const blocks = 1 + e.layers + e.tpLayers;
  const attention = 4 * frames * frames * (blocks * e.hiddenSize + a.layers * a.hiddenSize);
  return {
    bytes: stored(counts.encoder + counts.adaptor, format),
    flops: 2 * frames * (counts.encoder + counts.adaptor) + attention,
    dispatches: dispatchesOf.block * (blocks + a.layers),
  };
}

/** Seconds: the slower of arithmetic and memory, then the dispatches. */
export function workSeconds({ bytes, flops, dispatches }: Work, adapter: Adapter, shares: Shares): number {
  const arithmetic = flops / (adapter.flops * shares.flops);
  const memory = bytes / (adapter.bandwidth * shares.bandwidth);
  return Math.max(arithmetic, memory) + dispatches * adapter.dispatch;
}

export interface Prediction {
  /** Seconds a token, all those before it cached. */
  readonly token: number;
  /** Seconds of a clip. */
  readonly clip: number;
  /** Seconds of computing for a second of audio. */
  readonly rtf: number;
}

/** A clip of so many seconds with so many tokens in its answer, alone. */
export function predict(
  config: ModelConfig,
  format: WeightFormat,
  { seconds, tokens }: { readonly seconds: number; readonly tokens: number },
  adapter: Adapter,
  shares: Shares,
): Prediction {
  const { llm } = config;
  const time = (work: Work): number => workSeconds(work, adapter, shares);
  const prompt = promptTokens + Math.ceil(seconds * framesPerSecond);
  const token = time(tokenWork(llm, format, prompt + Math.ceil(tokens / 2)));
  const clip =
    time(audioWork(config, format, seconds)) + time(promptWork(llm, format, prompt)) + (tokens - 1) * token;
  return { token, clip, rtf: clip / seconds };
}
