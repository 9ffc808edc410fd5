import { type Metric, type Segment, referenceCount, sacrebleuVersion } from "./metric.js";
import { splitWords, trimEnd } from "./spaces.js";
import { leastEdits } from "./ter-shifts.js";

/** Words of a line in lower case, as TER compares them; Chinese wants its characters set apart. */
export type TerTokenizer = "tercom" | "asian";

export interface TerOptions {
  /**
   * "asian" is sacrebleu's normalized with asian_support. Default: tercom, words between spaces.
   */
  readonly tokenizer?: TerTokenizer;
}

/** Translation edit rate, equal to sacrebleu 2.6.0. @source Snover et al., 2006; Tercom */
export function ter({ tokenizer = "tercom" }: TerOptions = {}): Metric {
  const yesNo = tokenizer === "asian" ? "yes" : "no";
  return {
    name: "TER",
    signature: (segments) =>
      [
        referenceCount(segments),
        "case:lc",
        "tok:tercom",
        `norm:${yesNo}`,
        "punct:yes",
        `asian:${yesNo}`,
        `version:${sacrebleuVersion}`,
      ].join("|"),
    statistics: (segment) => statistics(segment, tokenizer),
    score: ([edits, length]) => (length > 0 ? (100 * edits) / length : edits > 0 ? 100 : 0),
  };
}

/**
 * [edits from the nearest reference, mean length of the references] sacrebleu splits references
 * twice. This matters where a possessive is followed by another space than U+0020.
 */
function statistics({ hypothesis, references }: Segment, tokenizer: TerTokenizer): number[] {
  const said = tokens(hypothesis, tokenizer);
  const wanted = references.map((line) => tokens(tokens(line, tokenizer).join(" "), tokenizer));
  const edits = wanted.map((words) => leastEdits(said, words));
  const length = wanted.reduce((sum, words) => sum + words.length, 0) / wanted.length;
  return [Math.min(...edits), length];
}

function tokens(line: string, tokenizer: TerTokenizer): string[] {
  const lower = trimEnd(line).toLowerCase();
  if (lower === "") return [];
  return splitWords(tokenizer === "asian" ? asian(normalized(lower)) : lower);
}

/** Tercom's normaliser: XML entities, Western punctuation set apart. */
function normalized(line: string): string {
  const plain = line
    .replaceAll("\n-", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
  return ` ${plain} `
    .replaceAll(/([{-~[-` -&(-+:-@/])/gu, " $1 ")
    .replaceAll("'s ", " 's ")
    .replace(/'s$/u, " 's")
    .replaceAll(/([^0-9])([.,])/gu, "$1 $2 ")
    .replaceAll(/([.,])([^0-9])/gu, " $1 $2")
    .replaceAll(/([0-9])(-)/gu, "$1 $2 ");
}

const kana = ["\\u3040-\\u309f", "\\u30a0-\\u30ff", "\\u31f0-\\u31ff"].map(
  (range) => new RegExp(`(^|^[${range}])([${range}]+)(?=$|^[${range}])`, "gu"),
);

/** Chinese and Japanese characters and their punctuation set apart, block after block as Tercom does. */
function asian(line: string): string {
  const split = line
    .replaceAll(/([\u4e00-\u9fff\u3400-\u4dbf])/gu, " $1 ")
    .replaceAll(/([\u31c0-\u31ef\u2e80-\u2eff])/gu, " $1 ")
    .replaceAll(/([\u3300-\u33ff\uf900-\ufaff\ufe30-\ufe4f])/gu, " $1 ")
    .replaceAll(/([\u3200-\u3f22])/gu, " $1 ");
  return kana
    .reduce((text, run) => text.replaceAll(run, "$1 $2 "), split)
    .replaceAll(/([\u3001\u3002\u3008-\u3011\u3014-\u301f\uff61-\uff65\u30fb])/gu, " $1 ")
    .replaceAll(/([\uff0e\uff0c\uff1f\uff1a\uff1b\uff01\uff02\uff08\uff09])/gu, " $1 ");
}
