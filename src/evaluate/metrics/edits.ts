import { FunasrError } from "../../errors.js";
import { prefixDistances } from "./distances.js";

/** Outputs cannot be scored. */
export class EvaluateError extends FunasrError {}

/** Edits that turn a reference into a hypothesis. */
export interface Edits {
  readonly substitutions: number;
  readonly deletions: number;
  readonly insertions: number;
  /** Units of the reference. */
  readonly length: number;
}

/** One column of an alignment. A deletion has no hypothesis, an insertion no reference. */
export interface Aligned {
  readonly kind: "equal" | "substitution" | "deletion" | "insertion";
  readonly reference?: string;
  readonly hypothesis?: string;
}

const diagonal = 0;
const deletion = 1;
const insertion = 2;
const mostCells = 2 ** 30;
const mostPairs = 2 ** 39; // of units: minutes of work

/**
 * The shortest alignment of two sequences. Of several, as in RapidFuzz (and so jiwer): equal ends
 * are set apart first; then, from the end backwards, a deletion goes before an insertion, and both
 * before a substitution.
 * Texts of a hundred thousand units with few edits are aligned in a band around the diagonal. Where
 * the band has more than 2^30 cells, the halves of the hypothesis are aligned by themselves, with as
 * few edits, of which others may be chosen.
 * @throws EvaluateError  the texts have more than 2^39 pairs of units
 */
export function align(reference: readonly string[], hypothesis: readonly string[]): Aligned[] {
  let start = 0;
  let [refEnd, hypEnd] = [reference.length, hypothesis.length];
  while (start < refEnd && start < hypEnd && reference[start] === hypothesis[start]) start++;
  while (refEnd > start && hypEnd > start && reference[refEnd - 1] === hypothesis[hypEnd - 1]) {
    refEnd--;
    hypEnd--;
  }
  const equal = (unit: string): Aligned => ({ kind: "equal", reference: unit, hypothesis: unit });
  return [
    ...reference.slice(0, start).map(equal),
    ...alignMiddle(reference.slice(start, refEnd), hypothesis.slice(start, hypEnd)),
    ...reference.slice(refEnd).map(equal),
  ];
}

function alignMiddle(reference: readonly string[], hypothesis: readonly string[]): Aligned[] {
  const band = backMoves(reference, hypothesis);
  if (!band) return alignHalves(reference, hypothesis);
  const { moves, width, reach } = band;
  const columns: Aligned[] = [];
  let [i, j] = [reference.length, hypothesis.length];
  while (i > 0 || j > 0) {
    const move = moves[j * width + i - j + reach];
    if (move === deletion) columns.push({ kind: "deletion", reference: reference[--i] });
    else if (move === insertion) columns.push({ kind: "insertion", hypothesis: hypothesis[--j] });
    else {
      const pair = { reference: reference[--i], hypothesis: hypothesis[--j] };
      columns.push({ kind: pair.reference === pair.hypothesis ? "equal" : "substitution", ...pair });
    }
  }
  return columns.reverse();
}

/**
 * Aligns each half of the hypothesis to its part of the reference.
 * @source Hirschberg, 1975
 */
export function alignHalves(reference: readonly string[], hypothesis: readonly string[]): Aligned[] {
  const pairs = reference.length * hypothesis.length;
  if (pairs > mostPairs)
    throw new EvaluateError(
      `align: reference × hypothesis: expected at most ${mostPairs} pairs of units, got ${pairs}; cut the clip into parts`,
    );
  const middle = hypothesis.length >> 1;
  const [first, second] = [hypothesis.slice(0, middle), hypothesis.slice(middle)];
  const before = prefixDistances(reference, first);
  const after = prefixDistances(reference.toReversed(), second.toReversed());
  let [cut, fewest] = [0, Infinity];
  for (const [i, distance] of before.entries()) {
    const edits = distance + after[reference.length - i];
    if (edits < fewest) [cut, fewest] = [i, edits];
  }
  return align(reference.slice(0, cut), first).concat(align(reference.slice(cut), second));
}

/** Last moves of shortest ways to the cells [hypothesis j, reference j - reach .. j + reach]. */
interface Band {
  readonly moves: Uint8Array;
  readonly width: number;
  readonly reach: number;
}

/**
 * The band that is sure to hold what the full table would give. A way of d edits leaves the diagonal
 * by at most d cells. So all cells of distance `reach` or less are exact, and those that decide a
 * shortest alignment of d edits have a distance of d + 1 or less.
 * @returns  undefined where it has too many cells
 */
function backMoves(reference: readonly string[], hypothesis: readonly string[]): Band | undefined {
  const least = fewestEdits(reference, hypothesis) + 1;
  const most = Math.max(reference.length, hypothesis.length);
  for (let reach = Math.max(64, least); ; reach *= 2) {
    const band = Math.min(reach, most);
    if ((2 * band + 1) * (hypothesis.length + 1) > mostCells) return undefined;
    const { distance, moves, width } = movesWithin(reference, hypothesis, band);
    if (distance < band || band === most) return { moves, width, reach: band };
  }
}

/** Edits that the counts of the units alone need (bag distance). */
function fewestEdits(reference: readonly string[], hypothesis: readonly string[]): number {
  const left = new Map<string, number>();
  for (const unit of reference) left.set(unit, (left.get(unit) ?? 0) + 1);
  for (const unit of hypothesis) left.set(unit, (left.get(unit) ?? 0) - 1);
  let [missing, extra] = [0, 0];
  for (const count of left.values()) {
    missing += Math.max(0, count);
    extra += Math.max(0, -count);
  }
  return Math.max(missing, extra);
}

function movesWithin(
  reference: readonly string[],
  hypothesis: readonly string[],
  reach: number,
): { distance: number; moves: Uint8Array; width: number } {
  const width = 2 * reach + 1;
  const moves = new Uint8Array(width * (hypothesis.length + 1));
  const far = 2 ** 31; // beyond the band
  // Distances by k = i - j + reach of the row above and of this one, with a cell beyond each end.
  let above = new Uint32Array(width + 2).fill(far);
  let row = new Uint32Array(width + 2).fill(far);
  for (let i = 0; i <= Math.min(reach, reference.length); i++) above[i + reach + 1] = i;
  moves.fill(deletion, reach + 1, width);
  for (let j = 1; j <= hypothesis.length; j++) {
    row.fill(far);
    for (let k = Math.max(0, reach - j); k < width; k++) {
      const i = j + k - reach;
      if (i > reference.length) break;
      if (i === 0) {
        row[k + 1] = j;
        moves[j * width + k] = insertion;
        continue;
      }
      const [corner, over, before] = [above[k + 1], above[k + 2], row[k]];
      const kept = corner + (reference[i - 1] === hypothesis[j - 1] ? 0 : 1);
      const distance = (row[k + 1] = Math.min(kept, over + 1, before + 1));
      if (distance === before + 1) moves[j * width + k] = deletion;
      else moves[j * width + k] = over + 1 === corner ? insertion : diagonal;
    }
    [above, row] = [row, above];
  }
  return { distance: above[reference.length - hypothesis.length + reach + 1], moves, width };
}

/** Counts of an alignment. */
export function countEdits(alignment: readonly Aligned[]): Edits {
  const count = (kind: Aligned["kind"]): number => alignment.filter((column) => column.kind === kind).length;
  const insertions = count("insertion");
  return {
    substitutions: count("substitution"),
    deletions: count("deletion"),
    insertions,
    length: alignment.length - insertions,
  };
}
