import { ShapeError } from "../gpu/errors.js";
import { sum } from "../arrays.js";

/**
 * Alignment of audio embeddings to the spoken words. Each frame a_t of a clip belongs to one of its
 * transcript's tokens or to a pause; tokens come in order, each has at least one frame, pauses may
 * stand before, between and after them, and between two equal tokens one must. Tokens k compete by
 *
 *   s(t, k) = (a_t · e_k - |e_k|² / 2) / σ²          log p(k | t) = s(t, k) - log Σ_j exp s(t, j)
 *
 * over the frozen embeddings e of the batch's tokens and of the pause, σ² the mean |e_k|² divided
 * by `sharpness`: the likelihood ratios of Gaussians around them. γ(t, k) is the share of the
 * paths, weighted by their probability, that have frame t at token k. The loss
 *
 *   Σ_clips -log Σ_paths Π_t p(path_t | t)  +  pull / (2 σ²) · Σ_t |a_t - Σ_k γ(t, k) e_k|²
 *
 * separates the tokens by its first term. Its second (γ held) moves each frame to the LLM's
 * embeddings. Divided by the frames.
 */
export const alignmentDefaults = { sharpness: 16, pull: 0.1 } as const;

/** A clip's rows among the scores, and the columns of its tokens; column 0 is the pause. */
export interface AlignedClip {
  readonly frames: number;
  readonly columns: readonly number[];
}

/** Whether a clip's frames suffice for its tokens: one each, and a pause between two equal ones. */
export function canAlign(frames: number, tokens: readonly number[]): boolean {
  return frames >= Math.max(1, tokens.length + repeats(tokens));
}

function repeats(tokens: readonly number[]): number {
  return tokens.filter((token, i) => i > 0 && token === tokens[i - 1]).length;
}

/** States of a clip: pause, token, pause, token, …, pause. */
interface States {
  readonly count: number;
  readonly column: (state: number) => number;
  /** Whether a token may follow the one before it without a pause. */
  readonly skips: (state: number) => boolean;
}

function statesOf(columns: readonly number[]): States {
  return {
    count: 2 * columns.length + 1,
    column: (state) => (state % 2 === 0 ? 0 : columns[state >> 1]),
    skips: (state) => state % 2 === 1 && state > 1 && columns[state >> 1] !== columns[(state >> 1) - 1],
  };
}

/** log(exp a + exp b) */
function logAdd(a: number, b: number): number {
  if (a === -Infinity) return b;
  if (b === -Infinity) return a;
  const high = Math.max(a, b);
  return high + Math.log1p(Math.exp(-Math.abs(a - b)));
}

/**
 * Log-probability of all paths, and the states' shares of each frame, by the forward-backward
 * recursion.
 * @param logP  [frames, states], log-probabilities of each state
 * @returns     shares [frames, states]
 * @throws ShapeError  there is no path: see canAlign
 */
export function forwardBackward(
  logP: Float64Array,
  columns: readonly number[],
): { readonly total: number; readonly shares: Float64Array } {
  const { count, skips } = statesOf(columns);
  const frames = logP.length / count;
  if (!canAlign(frames, columns)) {
    throw new ShapeError(
      `align: frames must be at least ${columns.length + repeats(columns)} for ${columns.length} tokens, got ${frames}`,
    );
  }
  const before = new Float64Array(logP.length).fill(-Infinity); // of the paths up to a frame, with it
  const after = new Float64Array(logP.length).fill(-Infinity); // of those from the frame on, without it
  for (let state = 0; state < Math.min(2, count); state++) before[state] = logP[state];
  for (let t = 1; t < frames; t++) {
    for (let state = 0; state < count; state++) {
      const at = (t - 1) * count + state;
      let sum = before[at];
      if (state > 0) sum = logAdd(sum, before[at - 1]);
      if (skips(state)) sum = logAdd(sum, before[at - 2]);
      before[t * count + state] = sum + logP[t * count + state];
    }
  }
  const end = frames * count;
  for (let state = Math.max(0, count - 2); state < count; state++) after[end - count + state] = 0;
  for (let t = frames - 2; t >= 0; t--) {
    for (let state = 0; state < count; state++) {
      const at = (t + 1) * count + state;
      let sum = after[at] + logP[at];
      if (state + 1 < count) sum = logAdd(sum, after[at + 1] + logP[at + 1]);
      if (state + 2 < count && skips(state + 2)) sum = logAdd(sum, after[at + 2] + logP[at + 2]);
      after[t * count + state] = sum;
    }
  }
  const total = count > 1 ? logAdd(before[end - 1], before[end - 2]) : before[end - 1];
  return { total, shares: before.map((value, i) => Math.exp(value + after[i] - total)) };
}

/** Inputs of an alignment. */
export interface AlignmentInput {
  /** a_t · e_k, [frames of all clips, tokens]. */
  readonly products: Float32Array | Float64Array;
  /** e, [tokens, width]; the pause first. */
  readonly embeddings: Float32Array | Float64Array;
  readonly tokens: number;
  /** Σ_t |a_t|². */
  readonly squares: number;
  readonly clips: readonly AlignedClip[];
  /** Frames that the sum is divided by. */
  readonly denominator: number;
  readonly sharpness: number;
  readonly pull: number;
}

/** The loss, and its gradient of a_t: Σ_k weights(t, k) e_k + factor · a_t. */
export interface Alignment {
  readonly loss: number;
  /** [frames of all clips, tokens] f32 */
  readonly weights: Float32Array;
  readonly factor: number;
}

/** Loss and gradient of packed clips, in double precision. */
export function align(input: AlignmentInput): Alignment {
  const { products, tokens, squares, clips, denominator, sharpness, pull } = input;
  const gram = gramOf(input);
  const norms = Float64Array.from({ length: tokens }, (_, k) => gram(k, k));
  const variance = sum(norms) / tokens / sharpness;
  const weights = new Float32Array(products.length);
  const gamma = new Float64Array(tokens);
  let likelihood = 0;
  let distance = squares;
  let first = 0;
  for (const { frames, columns } of clips) {
    const logP = logSoftmax(input, norms, variance, [first, frames]);
    const states = statesOf(columns);
    const ofStates = new Float64Array(frames * states.count);
    for (let t = 0; t < frames; t++)
      for (let s = 0; s < states.count; s++)
        ofStates[t * states.count + s] = logP[t * tokens + states.column(s)];
    const { total, shares } = forwardBackward(ofStates, columns);
    likelihood += total;
    const used = [...new Set([0, ...columns])];
    for (let t = 0; t < frames; t++) {
      gamma.fill(0);
      for (let s = 0; s < states.count; s++) gamma[states.column(s)] += shares[t * states.count + s];
      const row = (first + t) * tokens;
      for (const k of used) {
        distance -= 2 * gamma[k] * products[row + k];
        for (const j of used) distance += gamma[k] * gamma[j] * gram(k, j);
      }
      for (let k = 0; k < tokens; k++)
        weights[row + k] =
          (Math.exp(logP[t * tokens + k]) - (1 + pull) * gamma[k]) / (variance * denominator);
    }
    first += frames;
  }
  const loss = ((pull / (2 * variance)) * distance - likelihood) / denominator;
  return { loss, weights, factor: pull / (variance * denominator) };
}

/**
 * e_k · e_j, each computed once it is asked for: most pairs of a batch's tokens never share a clip.
 */
function gramOf({ embeddings, tokens }: AlignmentInput): (k: number, j: number) => number {
  const width = embeddings.length / tokens;
  const known = new Map<number, number>();
  return (k, j) => {
    const key = Math.min(k, j) * tokens + Math.max(k, j);
    let sum = known.get(key);
    if (sum === undefined) {
      sum = 0;
      for (let d = 0; d < width; d++) sum += embeddings[k * width + d] * embeddings[j * width + d];
      known.set(key, sum);
    }
    return sum;
  };
}

/** log p(k | t) of a clip's frames, [frames, tokens]. */
function logSoftmax(
  { products, tokens }: AlignmentInput,
  norms: Float64Array,
  variance: number,
  [first, frames]: readonly [number, number],
): Float64Array {
  const logP = new Float64Array(frames * tokens);
  for (let t = 0; t < frames; t++) {
    const row = logP.subarray(t * tokens, (t + 1) * tokens);
    let high = -Infinity;
    for (let k = 0; k < tokens; k++) {
      row[k] = (products[(first + t) * tokens + k] - norms[k] / 2) / variance;
      high = Math.max(high, row[k]);
    }
    let sum = 0;
    for (const score of row) sum += Math.exp(score - high);
    const norm = high + Math.log(sum);
    for (let k = 0; k < tokens; k++) row[k] -= norm;
  }
  return logP;
}
