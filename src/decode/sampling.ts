import { DecodeError } from "./loop.js";

/** How scores become probabilities, and how a token is drawn from them. */
export interface SamplingOptions {
  /** Scores are divided by it. Default 1. */
  readonly temperature?: number;
  /** Only the k highest scores stay, and those equal to the k-th. 0 or absent: all. */
  readonly topK?: number;
  /** Only the likeliest tokens that make up this much probability stay. 1 or absent: all. */
  readonly topP?: number;
  /** Only tokens of at least this share of the likeliest one's probability stay. Absent: all. */
  readonly minP?: number;
  /**
   * Scores of tokens that were there already are divided by it, or multiplied where below 0.
   * Default 1.
   */
  readonly repetitionPenalty?: number | undefined;
  /** Of the random numbers: 0 to 2^53 - 1. */
  readonly seed?: number;
}

/** @throws DecodeError  a value that transformers refuses too */
export function checkSampling(options: SamplingOptions): void {
  const check = (name: keyof SamplingOptions, expected: string, ok: (value: number) => boolean): void => {
    const value = options[name];
    if (value === undefined || ok(value)) return;
    throw new DecodeError(`sampling: ${name} must be ${expected}, got ${value}`);
  };
  const positive = (value: number): boolean => value > 0 && Number.isFinite(value);
  const share = (value: number): boolean => value >= 0 && value <= 1;
  check("temperature", "a positive number", positive);
  check("topK", "a whole number from 0", (value) => Number.isSafeInteger(value) && value >= 0);
  check("topP", "a number from 0 to 1", share);
  check("minP", "a number from 0 to 1", share);
  check("repetitionPenalty", "a positive number", positive);
  check("seed", "a whole number from 0 to 2^53 - 1", (value) => Number.isSafeInteger(value) && value >= 0);
}

/**
 * Scores after the processors, in transformers' order: repetition penalty, temperature, top-k,
 * top-p, min-p. In f32, as there: which tokens tie or fall on a threshold depends on it.
 * @param logits  [V]
 * @param seen    tokens of the prompt and of the answer so far
 * @returns       [V]; -Infinity for tokens that are left out
 * @source transformers `generation/logits_process.py`, `GenerationMixin._get_logits_processor`
 */
export function processScores(
  logits: Float32Array,
  seen: Iterable<number>,
  options: SamplingOptions,
): Float32Array {
  const scores = logits.slice();
  const { temperature = 1, topK = 0, topP = 1, minP, repetitionPenalty = 1 } = options;
  if (repetitionPenalty !== 1) penalise(scores, logits, seen, Math.fround(repetitionPenalty));
  if (temperature !== 1) {
    const divisor = Math.fround(temperature);
    for (let i = 0; i < scores.length; i++) scores[i] /= divisor;
  }
  if (topK > 0) keepTopK(scores, topK);
  if (topP < 1) keepTopP(scores, topP);
  if (minP !== undefined) keepMinP(scores, minP);
  return scores;
}

function penalise(scores: Float32Array, logits: Float32Array, seen: Iterable<number>, penalty: number): void {
  for (const id of seen) {
    if (id >= scores.length) continue;
    scores[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty; // once, however often it was there
  }
}

function keepTopK(scores: Float32Array, k: number): void {
  if (k >= scores.length) return;
  const least = scores.slice().sort()[scores.length - k];
  for (let i = 0; i < scores.length; i++) if (scores[i] < least) scores[i] = -Infinity;
}

/**
 * Takes the unlikeliest tokens away while they make up at most 1 - p together, but never the last;
 * of equals the first go.
 */
function keepTopP(scores: Float32Array, p: number): void {
  const rising = scores.slice().sort();
  const shares = softmax(rising);
  const most = Math.fround(1 - p);
  let sum = 0; // in f64, rounded to compare: torch.cumsum on the CPU
  let removed = 0;
  while (removed < rising.length - 1) {
    sum += shares[removed];
    if (!(Math.fround(sum) <= most)) break;
    removed++;
  }
  const least = rising[removed];
  let equals = removed - rising.indexOf(least);
  for (let i = 0; i < scores.length; i++) {
    if (scores[i] < least || (scores[i] === least && equals-- > 0)) scores[i] = -Infinity;
  }
}

function keepMinP(scores: Float32Array, p: number): void {
  const shares = softmax(scores);
  const least = Math.fround(Math.fround(p) * shares.reduce((a, b) => Math.max(a, b)));
  for (let i = 0; i < scores.length; i++) if (shares[i] < least) scores[i] = -Infinity;
}

/** Probabilities in f32: NaN where no score is finite. [V] → [V] */
export function softmax(scores: Float32Array): Float32Array {
  const highest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = scores.map((score) => Math.exp(Math.fround(score - highest)));
  const sum = Math.fround(powers.reduce((a, b) => a + b, 0));
  return powers.map((power) => power / sum);
}

/**
 * The token that a uniform number falls on, by the sums of the probabilities in the order of the
 * ids.
 * @param probabilities  [V], not all zero; their sum need not be 1
 * @param uniform        in [0, 1)
 */
export function choose(probabilities: Float32Array, uniform: number): number {
  const target = uniform * probabilities.reduce((a, b) => a + b, 0);
  let sum = 0;
  let last = 0;
  for (let i = 0; i < probabilities.length; i++) {
    if (probabilities[i] === 0) continue;
    sum += probabilities[i];
    last = i;
    if (sum > target) return i;
  }
  return last;
}
