import { type Metric, type Segment, referenceCount, sacrebleuVersion } from "./metric.js";
import { countNgrams, matches, total } from "./ngrams.js";
import { splitWords } from "./spaces.js";

export interface ChrfOptions {
  /** Longest n-gram of words; 2 makes it chrF++. Default: 0. */
  readonly wordOrder?: number;
  readonly lowercase?: boolean;
}

const charOrder = 6;
const beta = 2;
const punctuation = new Set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");

/** chrF, equal to sacrebleu 2.6.0. @source Popović, 2015 and 2017 */
export function chrf({ wordOrder = 0, lowercase = false }: ChrfOptions = {}): Metric {
  const cased = (text: string): string => (lowercase ? text.toLowerCase() : text);
  const ngrams = (text: string): Map<string, number>[] => allNgrams(cased(text), wordOrder);
  return {
    name: `chrF${beta}${"+".repeat(wordOrder)}`,
    signature: (segments) =>
      [
        referenceCount(segments),
        `case:${lowercase ? "lc" : "mixed"}`,
        "eff:yes",
        `nc:${charOrder}`,
        `nw:${wordOrder}`,
        "space:no",
        `version:${sacrebleuVersion}`,
      ].join("|"),
    statistics: (segment) => statistics(segment, ngrams),
    score: fScore,
  };
}

/** Of characters without white space, order 1 to 6, then of words. */
function allNgrams(text: string, wordOrder: number): Map<string, number>[] {
  const characters = Array.from(splitWords(text).join(""));
  const words = wordOrder > 0 ? splitWords(text).flatMap(withoutPunctuation) : [];
  return [
    ...Array.from({ length: charOrder }, (_, n) => countNgrams(characters, n + 1, "")),
    ...Array.from({ length: wordOrder }, (_, n) => countNgrams(words, n + 1, " ")),
  ];
}

/** One punctuation mark at a word's end, else at its beginning, is a word of its own. */
function withoutPunctuation(word: string): string[] {
  const letters = Array.from(word);
  if (letters.length === 1) return [word];
  const last = letters.at(-1)!;
  if (punctuation.has(last)) return [word.slice(0, -1), last];
  if (punctuation.has(letters[0])) return [letters[0], word.slice(1)];
  return [word];
}

/** For each order [n-grams of the hypothesis, of the reference, in both], of the reference with the best score. */
function statistics(
  { hypothesis, references }: Segment,
  ngrams: (text: string) => Map<string, number>[],
): number[] {
  const said = ngrams(hypothesis);
  let best: number[] = [];
  let bestScore = -1;
  for (const reference of references) {
    const wanted = ngrams(reference);
    const counts = said.flatMap((counted, n) => [
      wanted[n].size === 0 ? 0 : total(counted),
      total(wanted[n]),
      matches(counted, wanted[n]),
    ]);
    const value = fScore(counts);
    if (value > bestScore) [best, bestScore] = [counts, value];
  }
  return best;
}

function fScore(sums: readonly number[]): number {
  let [precision, recall, used] = [0, 0, 0];
  for (let i = 0; i < sums.length; i += 3) {
    const [said, wanted, both] = sums.slice(i, i + 3);
    if (said === 0 || wanted === 0) continue;
    precision += both / said;
    recall += both / wanted;
    used++;
  }
  if (precision + recall === 0) return 0;
  precision /= used;
  recall /= used;
  const factor = beta ** 2;
  return (100 * ((1 + factor) * precision * recall)) / (factor * precision + recall);
}
