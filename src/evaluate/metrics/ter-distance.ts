const beam = 25; // columns on either side of the diagonal

/**
 * Edit distance near the diagonal, which is what Tercom counts: on lines of very different order it can be above the true one.
 * @returns moves  how the words become the reference: "=" equal, "s" substituted, "d" a word too many, "i" one missing; of ways
 *                 as short the last step is rather = or s than d, rather d than i
 */
export function distance(
  words: readonly string[],
  reference: readonly string[],
): { edits: number; moves: string } {
  const width = reference.length + 1;
  const cost = new Float64Array(width * (words.length + 1)).fill(Infinity);
  const steps = new Array<string>(cost.length);
  for (let j = 0; j < width; j++) {
    cost[j] = j;
    steps[j] = "i";
  }
  const slope = words.length === 0 ? 1 : reference.length / words.length;
  const reach = beam < slope / 2 ? Math.ceil(slope / 2 + beam) : beam;
  for (let i = 1; i <= words.length; i++) {
    const middle = Math.floor(i * slope);
    const end = i === words.length ? width : Math.min(width, middle + reach);
    for (let j = Math.max(0, middle - reach); j < end; j++) {
      const cell = i * width + j;
      const equal = j > 0 && words[i - 1] === reference[j - 1];
      const kept = j > 0 ? cost[cell - width - 1] + (equal ? 0 : 1) : Infinity;
      const dropped = cost[cell - width] + 1;
      const added = j > 0 ? cost[cell - 1] + 1 : Infinity;
      cost[cell] = Math.min(kept, dropped, added);
      if (cost[cell] === Infinity) continue; // out of the beam's reach
      if (cost[cell] === kept) steps[cell] = equal ? "=" : "s";
      else steps[cell] = cost[cell] === dropped ? "d" : "i";
    }
  }
  return { edits: cost[cost.length - 1], moves: trace(steps, words.length, reference.length) };
}

function trace(steps: readonly string[], rows: number, columns: number): string {
  let moves = "";
  let [i, j] = [rows, columns];
  while (i > 0 || j > 0) {
    const step = steps[i * (columns + 1) + j];
    moves = step + moves;
    if (step !== "i") i--;
    if (step !== "d") j--;
  }
  return moves;
}
