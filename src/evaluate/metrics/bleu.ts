import { type BleuTokenizer, bleuTokens } from "./bleu-tokenizers.js";
import { type Metric, type Segment, referenceCount, sacrebleuVersion } from "./metric.js";
import { countNgrams } from "./ngrams.js";
import { trimEnd } from "./spaces.js";

/** Replaces an n-gram precision of zero. @source Chen and Cherry, WMT 2014, methods 1 to 3 */
export type Smoothing = "none" | "floor" | "add-k" | "exp";

export interface BleuOptions {
  /** Default: 13a; Chinese wants zh. */
  readonly tokenizer?: BleuTokenizer;
  /** Default: exp. */
  readonly smoothing?: Smoothing;
  /** Default: 0.1 for floor, 1 for add-k. */
  readonly smoothingValue?: number;
  readonly lowercase?: boolean;
  /**
   * Leave out the orders that the output is too short for: for single sentences. Default: false.
   */
  readonly effectiveOrder?: boolean;
}

const orders = 4;
const defaultValue: Readonly<Record<Smoothing, number | undefined>> = {
  none: undefined,
  floor: 0.1,
  "add-k": 1,
  exp: undefined,
};
const logOfZero = -9999999999;

/** BLEU, equal to sacrebleu 2.6.0. @source Papineni et al., 2002 */
export function bleu(options: BleuOptions = {}): Metric {
  const { tokenizer = "13a", smoothing = "exp", lowercase = false, effectiveOrder = false } = options;
  const value = options.smoothingValue ?? defaultValue[smoothing];
  const tokens = (text: string): string[] =>
    bleuTokens[tokenizer](trimEnd(lowercase ? text.toLowerCase() : text));
  const smooth = defaultValue[smoothing] === undefined ? smoothing : `${smoothing}[${value!.toFixed(2)}]`;
  return {
    name: "BLEU",
    signature: (segments) =>
      [
        referenceCount(segments),
        `case:${lowercase ? "lc" : "mixed"}`,
        `eff:${effectiveOrder ? "yes" : "no"}`,
        `tok:${tokenizer}`,
        `smooth:${smooth}`,
        `version:${sacrebleuVersion}`,
      ].join("|"),
    statistics: (segment) => statistics(segment, tokens),
    score: (sums) => score(sums, smoothing, value ?? 0, effectiveOrder),
  };
}

/** [hypothesis length, closest reference length, 4 × matches, 4 × n-grams of the hypothesis] */
function statistics({ hypothesis, references }: Segment, tokens: (text: string) => string[]): number[] {
  const said = tokens(hypothesis);
  const wanted = references.map(tokens);
  const correct: number[] = [];
  const total: number[] = [];
  for (let order = 1; order <= orders; order++) {
    const most = new Map<string, number>();
    for (const reference of wanted)
      for (const [ngram, count] of countNgrams(reference, order, " "))
        most.set(ngram, Math.max(count, most.get(ngram) ?? 0));
    let [matched, all] = [0, 0];
    for (const [ngram, count] of countNgrams(said, order, " ")) {
      all += count;
      matched += Math.min(count, most.get(ngram) ?? 0);
    }
    correct.push(matched);
    total.push(all);
  }
  return [
    said.length,
    closest(
      said.length,
      wanted.map((w) => w.length),
    ),
    ...correct,
    ...total,
  ];
}

/** The length nearest to `length`; of two as near the shorter. */
function closest(length: number, lengths: readonly number[]): number {
  return [...lengths].sort((a, b) => Math.abs(a - length) - Math.abs(b - length) || a - b)[0];
}

function score(
  sums: readonly number[],
  smoothing: Smoothing,
  value: number,
  effectiveOrder: boolean,
): number {
  const [said, wanted] = sums;
  const correct = sums.slice(2, 2 + orders);
  const total = sums.slice(2 + orders);
  if (correct.every((count) => count === 0)) return 0;
  const brevity = said < wanted ? Math.exp(1 - wanted / said) : 1;
  const precisions = new Array<number>(orders).fill(0);
  let halved = 1;
  let used = orders;
  for (let n = 0; n < orders; n++) {
    const added = smoothing === "add-k" && n > 0 ? value : 0;
    const [matched, all] = [correct[n] + added, total[n] + added];
    if (all === 0) break;
    if (effectiveOrder) used = n + 1;
    if (matched > 0) precisions[n] = (100 * matched) / all;
    else if (smoothing === "exp") precisions[n] = 100 / ((halved *= 2) * all);
    else if (smoothing === "floor") precisions[n] = (100 * value) / all;
  }
  const logs = precisions.slice(0, used).map((p) => (p === 0 ? logOfZero : Math.log(p)));
  return brevity * Math.exp(logs.reduce((a, b) => a + b, 0) / used);
}
