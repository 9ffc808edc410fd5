import { FunasrError } from "../../errors.js";

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

/**
 * The shortest alignment of two sequences. Of several, as in RapidFuzz (and so jiwer): equal ends
 * are set apart first; then, from the end backwards, a deletion goes before an insertion, and both
 * before a substitution.
 * @throws EvaluateError  the product of the lengths is past 2^30
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
  const moves = backMoves(reference, hypothesis);
  const columns: Aligned[] = [];
  const width = reference.length + 1;
  let [i, j] = [reference.length, hypothesis.length];
  while (i > 0 || j > 0) {
    const move = moves[j * width + i];
    if (move === deletion) columns.push({ kind: "deletion", reference: reference[--i] });
    else if (move === insertion) columns.push({ kind: "insertion", hypothesis: hypothesis[--j] });
    else {
      const pair = { reference: reference[--i], hypothesis: hypothesis[--j] };
      columns.push({ kind: pair.reference === pair.hypothesis ? "equal" : "substitution", ...pair });
    }
  }
  return columns.reverse();
}

/** The last move of a shortest way to each cell [hypothesis, reference]. */
function backMoves(reference: readonly string[], hypothesis: readonly string[]): Uint8Array {
  const width = reference.length + 1;
  const cells = width * (hypothesis.length + 1);
  if (cells > mostCells)
    throw new EvaluateError(
      `align: reference × hypothesis: expected at most ${mostCells} cells, got ${cells}; cut the clip into parts`,
    );
  const moves = new Uint8Array(cells).fill(deletion, 1, width);
  let above = Uint32Array.from({ length: width }, (_, i) => i); // distances of the hypothesis without its last unit
  let row = new Uint32Array(width);
  for (let j = 1; j <= hypothesis.length; j++) {
    row[0] = j;
    moves[j * width] = insertion;
    for (let i = 1; i < width; i++) {
      const kept = above[i - 1] + (reference[i - 1] === hypothesis[j - 1] ? 0 : 1);
      row[i] = Math.min(kept, above[i] + 1, row[i - 1] + 1);
      if (row[i] === row[i - 1] + 1) moves[j * width + i] = deletion;
      else moves[j * width + i] = above[i] + 1 === above[i - 1] ? insertion : diagonal;
    }
    [above, row] = [row, above];
  }
  return moves;
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
