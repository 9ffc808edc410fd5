import { spoken, spokenWithMarks } from "./canonical.js";
import { chineseNumbers, evenWidth } from "./chinese-numbers.js";
import { EvaluateError } from "./edits.js";
import { englishForm } from "./english.js";

/** Changes texts before they are compared. */
export type Normalizer = "simplified" | "chinese" | "whisper";

/** In the order in which they are applied. */
export const NORMALIZERS: readonly Normalizer[] = ["simplified", "chinese", "whisper"];

/** The form in which references and answers are compared. */
export interface TextForm {
  /** Name of the form: only scores of one form can be compared. */
  readonly signature: string;
  /** Words between spaces. */
  readonly apply: (text: string) => string;
}

/** FunASR's `text_tn` in upper case, and nothing else. */
export const documentedForm: TextForm = { signature: "norm:none|form:text_tn", apply: spoken };

const versions: Readonly<Record<Normalizer, string>> = {
  simplified: "simplified(opencc-js 1.4.2 tw2s)",
  chinese: "chinese(1)",
  whisper: "whisper(1)",
};

/**
 * The form that some normalisers make; none is the documented one. Traditional characters become
 * simplified ones (OpenCC), then Chinese numbers digits of half width, then English is written as
 * Whisper's results are scored. Behind the first two stands `text_tn`, which keeps the marks of
 * decimals, fractions and per cent; Whisper's form stands as it is.
 */
export async function textForm(names: readonly Normalizer[]): Promise<TextForm> {
  const asked = NORMALIZERS.filter((name) => names.includes(name));
  if (asked.length === 0) return documentedForm;
  const steps: ((text: string) => string)[] = [];
  for (const name of asked) steps.push(await stepOf(name));
  const whisper = asked.includes("whisper");
  const chinese = asked.includes("chinese");
  if (!whisper) steps.push(chinese ? spokenWithMarks : spoken);
  return {
    signature: `norm:${asked.map((name) => versions[name]).join("+")}|form:${whisper ? "whisper" : "text_tn"}`,
    apply: (text) => steps.reduce((changed, step) => step(changed), text),
  };
}

async function stepOf(name: Normalizer): Promise<(text: string) => string> {
  if (name === "chinese") return (text) => chineseNumbers(evenWidth(text));
  if (name === "whisper") return (text) => englishForm(text);
  const opencc: unknown = await import("opencc-js/t2cn"); // 109 kB, read where it is asked for
  return (opencc as { Converter: (ends: object) => (text: string) => string }).Converter({
    from: "tw",
    to: "cn",
  });
}

/** @throws EvaluateError  a name that is none of them */
export function normalizersOf(text: string): Normalizer[] {
  const names = text.split(",");
  if (text === "none") return [];
  const unknown = names.find((name) => !NORMALIZERS.includes(name as Normalizer));
  if (unknown === undefined && new Set(names).size === names.length) return names as Normalizer[];
  throw new EvaluateError(
    `normalize: expected none, or of ${NORMALIZERS.join(", ")} each once, with commas between; got ${text}`,
  );
}
