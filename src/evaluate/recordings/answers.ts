import { type ErrorUnit, textUnits } from "../metrics/cer.js";
import { type Aligned, type Edits, align, countEdits } from "../metrics/edits.js";
import { type TextForm, documentedForm } from "../metrics/text-form.js";
import type { Heard, HeardSegment } from "../record.js";

/** Texts that are counted one by one: those of the reference's segments, or the whole. */
function referenceTexts({ reference, referenceSegments }: Heard): string[] {
  return referenceSegments && referenceSegments.length > 0
    ? referenceSegments.map(({ text }) => text)
    : [reference];
}

/** What was heard in one stretch of audio. */
export interface Answer extends Pick<HeardSegment, "text" | "agreement"> {
  readonly columns: readonly Aligned[];
  /** Absent: the whole clip. */
  readonly segment?: HeardSegment;
}

/** Units of several texts, and how many each has. */
function unitsOf(
  texts: readonly string[],
  unit: ErrorUnit,
  form: TextForm,
): { readonly units: string[]; readonly counts: number[] } {
  const lists = texts.map((text) => textUnits(text, unit, form));
  return { units: lists.flat(), counts: lists.map(({ length }) => length) };
}

/** Edits by record, then by unit and form: several tables ask for them. */
const known = new WeakMap<Heard, Map<string, Edits[]>>();

/**
 * Edits of a record, of a reference with segments by segment: the texts of all are aligned as one,
 * and what was inserted counts for the segment before.
 */
export function referenceEdits(record: Heard, unit: ErrorUnit, form: TextForm = documentedForm): Edits[] {
  const forms = known.get(record) ?? new Map<string, Edits[]>();
  known.set(record, forms);
  const key = `${unit} ${form.signature}`;
  const found = forms.get(key);
  if (found) return found;
  const { units, counts } = unitsOf(referenceTexts(record), unit, form);
  const columns = align(units, textUnits(record.hypothesis, unit, form));
  const edits = split(columns, counts, "reference").map(countEdits);
  forms.set(key, edits);
  return edits;
}

/**
 * Edits of a record in parts that can be resampled: the reference's segments, else those that were
 * heard, else the whole. Under a normaliser their sum may differ from `referenceEdits`.
 */
export function editsInParts(record: Heard, unit: ErrorUnit, form: TextForm = documentedForm): Edits[] {
  if (record.referenceSegments || !record.segments?.length) return referenceEdits(record, unit, form);
  return answersOf(record, unit, form).map(({ columns }) => countEdits(columns));
}

/**
 * The answers of a record, aligned to the reference as one text: each segment of a clip that was run
 * in segments, else the whole. What was left out counts for the answer before.
 */
export function answersOf(record: Heard, unit: ErrorUnit, form: TextForm = documentedForm): Answer[] {
  const { segments, hypothesis, agreement } = record;
  const answers: Omit<Answer, "columns">[] = segments?.length
    ? segments.map((segment) => ({ text: segment.text, agreement: segment.agreement, segment }))
    : [{ text: hypothesis, agreement }];
  const { units, counts } = unitsOf(
    answers.map(({ text }) => text),
    unit,
    form,
  );
  const columns = align(unitsOf(referenceTexts(record), unit, form).units, units);
  return split(columns, counts, "hypothesis").map((part, i) => ({ ...answers[i], columns: part }));
}

/** Columns of an alignment by the texts of one side, which have `counts` units each. */
function split(
  columns: readonly Aligned[],
  counts: readonly number[],
  side: "reference" | "hypothesis",
): Aligned[][] {
  const parts: Aligned[][] = counts.map(() => []);
  let [part, left] = [0, counts[0]];
  for (const column of columns) {
    if (column[side] !== undefined) {
      while (left === 0) left = counts[++part];
      left--;
    }
    parts[part].push(column);
  }
  return parts;
}
