import { characters, mixedUnits, words } from "./canonical.js";
import { type TextForm, documentedForm } from "./text-form.js";
import { type Aligned, type Edits, align, countEdits } from "./edits.js";

/** What an error rate counts. */
export type ErrorUnit = "character" | "word" | "mixed";

/**
 * Error rate over many utterances: the sum of the edits over the sum of the references' lengths
 * (micro average).
 */
export interface Rate extends Edits {
  readonly edits: number;
  /** NaN where the references hold no unit. */
  readonly rate: number;
}

const unitsOf: Readonly<Record<ErrorUnit, (text: string, form: TextForm["apply"]) => string[]>> = {
  character: characters,
  word: words,
  mixed: mixedUnits,
};

/** The units of a text that an error rate counts. */
export function textUnits(text: string, unit: ErrorUnit, { apply }: TextForm = documentedForm): string[] {
  return unitsOf[unit](text, apply);
}

/**
 * Alignment of two texts in one form. Default: FunASR's canonical one, in which spaces, punctuation
 * and case do not count.
 */
function alignTexts(reference: string, hypothesis: string, unit: ErrorUnit, form?: TextForm): Aligned[] {
  return align(textUnits(reference, unit, form), textUnits(hypothesis, unit, form));
}

/** Edits between two texts in one form. */
export function textEdits(reference: string, hypothesis: string, unit: ErrorUnit, form?: TextForm): Edits {
  return countEdits(alignTexts(reference, hypothesis, unit, form));
}

/** Character edits between two texts in FunASR's canonical form. */
function characterErrors(reference: string, hypothesis: string): Edits {
  return textEdits(reference, hypothesis, "character");
}

/** The rate of several utterances' edits together. */
export function errorRate(all: readonly Edits[]): Rate {
  const sum = { substitutions: 0, deletions: 0, insertions: 0, length: 0 };
  for (const edits of all) for (const key of Object.keys(sum) as (keyof Edits)[]) sum[key] += edits[key];
  const edits = sum.substitutions + sum.deletions + sum.insertions;
  return { ...sum, edits, rate: sum.length === 0 ? NaN : edits / sum.length };
}

/** Character error rate of [reference, hypothesis] pairs. */
export function characterErrorRate(pairs: readonly (readonly [string, string])[]): Rate {
  return errorRate(pairs.map(([reference, hypothesis]) => characterErrors(reference, hypothesis)));
}
