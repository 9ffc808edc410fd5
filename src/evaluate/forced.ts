import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { takeRows } from "../kernels/copy-rows/copy-rows.js";
import { KvCache } from "../model/kv-cache.js";
import { type Qwen3, embedTokens, lmHead, qwen3 } from "../model/qwen3.js";
import type { Tap } from "../model/taps.js";
import { EvaluateError } from "./metrics/edits.js";

/** A prompt and its given answer. */
export interface ForcedSequence {
  /** Of both. */
  readonly ids: readonly number[];
  /** Where the answer begins, 1 or more: the tokens from here on are scored. */
  readonly first: number;
}

/** The model's score of one token of an answer, given all tokens before it. */
export interface ForcedToken {
  readonly id: number;
  /** The likeliest token there; of equal ones the lowest id. */
  readonly top: number;
  /** Natural logarithm of the probability of `id`. */
  readonly logProbability: number;
}

export interface ForcedOptions {
  /** In the step: embeddings of the sequences' tokens [ΣS, D] f32. Default: those of the ids. */
  readonly embed?: () => Tensor;
  readonly tap?: Tap;
  /** Sees the scores of the answers' tokens, some rows at a time. @param logits  [rows, V] f32 */
  readonly onLogits?: (logits: Float32Array, firstRow: number) => void;
  /** Ends the run before its next step, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Answers of several sequences scored together. */
export interface Agreement {
  readonly positions: number;
  /** Share of the positions whose likeliest token is the answer's. */
  readonly agreement: number;
  readonly meanLogProbability: number;
}

const pieceBytes = 32 << 20; // of scores that are read back at once

/**
 * Runs sequences whose answers are given, all tokens at once, and scores each token of the answers.
 * Greedy decoding goes another way after one wrong token; this measures each position by itself.
 * @throws EvaluateError  an answer that begins at the first token, or has none; a score that is no
 *                        number
 */
export async function force(
  gpu: Gpu,
  llm: Qwen3,
  sequences: readonly ForcedSequence[],
  { embed, tap, onLogits, signal }: ForcedOptions = {},
): Promise<ForcedToken[][]> {
  const rows = answerRows(sequences);
  const wanted = sequences.flatMap(({ ids, first }) => ids.slice(first));
  signal?.throwIfAborted();
  const hidden = await lastStates(gpu, llm, sequences, rows, { embed, tap });
  const tokens: ForcedToken[] = [];
  try {
    const step = Math.max(1, Math.floor(pieceBytes / (4 * llm.config.vocabSize)));
    for (let at = 0; at < rows.length; at += step) {
      signal?.throwIfAborted();
      const count = Math.min(step, rows.length - at);
      const piece = Array.from({ length: count }, (_, i) => at + i);
      const [data] = await gpu.step(() => [lmHead(gpu, llm, takeRows(gpu, hidden, piece))]);
      const logits = data as Float32Array;
      onLogits?.(logits, at);
      for (const [i, row] of piece.entries()) {
        const scores = logits.subarray(i * llm.config.vocabSize, (i + 1) * llm.config.vocabSize);
        tokens.push(scoreToken(scores, wanted[row]));
      }
    }
  } finally {
    gpu.release(hidden);
  }
  let at = 0;
  return sequences.map(({ ids, first }) => tokens.slice(at, (at += ids.length - first)));
}

/** The packed rows that predict the answers' tokens: each one row before its token. */
function answerRows(sequences: readonly ForcedSequence[]): number[] {
  const rows: number[] = [];
  let start = 0;
  for (const [i, { ids, first }] of sequences.entries()) {
    if (!(first >= 1 && first < ids.length))
      throw new EvaluateError(
        `force: sequence ${i}: expected its answer to begin at a token from 1 to ${ids.length - 1}, got ${first}`,
      );
    for (let token = first; token < ids.length; token++) rows.push(start + token - 1);
    start += ids.length;
  }
  return rows;
}

/** Final hidden states of some packed rows, held. */
async function lastStates(
  gpu: Gpu,
  llm: Qwen3,
  sequences: readonly ForcedSequence[],
  rows: readonly number[],
  { embed, tap }: ForcedOptions,
): Promise<Tensor> {
  const lengths = sequences.map(({ ids }) => ids.length);
  const cache = new KvCache(gpu, llm.config, lengths);
  let hidden: Tensor | undefined;
  try {
    await gpu.step(() => {
      const ids = sequences.flatMap((sequence) => [...sequence.ids]);
      const embeds = embed ? embed() : embedTokens(gpu, llm, ids);
      hidden = gpu.hold(qwen3(gpu, llm, embeds, cache.append(lengths), cache, { only: rows, tap }));
      return [];
    });
    await gpu.finish();
    return hidden!;
  } catch (error) {
    if (hidden) gpu.release(hidden);
    throw error;
  } finally {
    cache.free();
  }
}

/** The maximum is taken off before exp; sums are f64. */
function scoreToken(scores: Float32Array, id: number): ForcedToken {
  let top = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[top]) top = i;
  let sum = 0;
  for (const score of scores) sum += Math.exp(score - scores[top]);
  const logProbability = scores[id] - scores[top] - Math.log(sum);
  if (!Number.isFinite(logProbability))
    throw new EvaluateError(
      `force: expected finite scores, got ${logProbability} for token ${id}; the weights or the input are damaged`,
    );
  return { id, top, logProbability };
}

/** Agreement of the scored tokens with the answers. */
export function agreement(tokens: readonly ForcedToken[]): Agreement {
  const hits = tokens.filter(({ id, top }) => id === top).length;
  const sum = tokens.reduce((total, { logProbability }) => total + logProbability, 0);
  const positions = tokens.length;
  return { positions, agreement: hits / positions, meanLogProbability: sum / positions };
}
