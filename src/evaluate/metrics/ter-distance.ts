const beam = 25; // columns on either side of the diagonal
const unreached = 2 ** 30;
const codes = { "=": 0, s: 1, d: 2, i: 3 } as const;
const letters = ["=", "s", "d", "i"];

/** Edit distances of all beginnings of some words from all beginnings of a reference. */
export interface Distances {
  readonly words: readonly string[];
  /** [words + 1, reference + 1] */
  readonly cost: Int32Array;
  readonly steps: Uint8Array;
}

/**
 * Edit distances near the diagonal, as Tercom counts them. For lines of very different order they
 * can exceed the true ones.
 * @param base  distances of as many words from the same reference; the rows of the words that they
 *              begin with alike are taken over
 */
export function distances(
  words: readonly string[],
  reference: readonly string[],
  base?: Distances,
): Distances {
  const width = reference.length + 1;
  const cost = new Int32Array(width * (words.length + 1)).fill(unreached);
  const steps = new Uint8Array(cost.length);
  let row = 1;
  if (base) {
    while (row < words.length && words[row - 1] === base.words[row - 1]) row++;
    cost.set(base.cost.subarray(0, row * width));
    steps.set(base.steps.subarray(0, row * width));
  } else {
    for (let j = 0; j < width; j++) cost[j] = j;
    steps.fill(codes.i, 0, width);
  }
  const slope = words.length === 0 ? 1 : reference.length / words.length;
  const reach = beam < slope / 2 ? Math.ceil(slope / 2 + beam) : beam;
  for (; row <= words.length; row++) {
    const middle = Math.floor(row * slope);
    const end = row === words.length ? width : Math.min(width, middle + reach);
    for (let j = Math.max(0, middle - reach); j < end; j++) {
      const cell = row * width + j;
      const equal = j > 0 && words[row - 1] === reference[j - 1];
      const kept = j > 0 ? cost[cell - width - 1] + (equal ? 0 : 1) : unreached;
      const dropped = cost[cell - width] + 1;
      const added = j > 0 ? cost[cell - 1] + 1 : unreached;
      const least = Math.min(kept, dropped, added);
      if (least >= unreached) continue; // out of the beam's reach
      cost[cell] = least;
      if (least === kept) steps[cell] = equal ? codes["="] : codes.s;
      else steps[cell] = least === dropped ? codes.d : codes.i;
    }
  }
  return { words, cost, steps };
}

/** Edits of all words from the whole reference. */
export function wholeDistance({ cost }: Distances): number {
  return cost[cost.length - 1];
}

/**
 * Steps from the words to the reference: "=" equal, "s" substituted, "d" deleted, "i" inserted. Of
 * ways as short, the last step is = or s before d, and d before i.
 */
export function moves({ words, steps }: Distances): string {
  const width = steps.length / (words.length + 1);
  let all = "";
  let [i, j] = [words.length, width - 1];
  while (i > 0 || j > 0) {
    const step = letters[steps[i * width + j]];
    all = step + all;
    if (step !== "i") i--;
    if (step !== "d") j--;
  }
  return all;
}
