/**
 * Area under the ROC curve: how often a value of the first kind is above one of the second, ties as
 * half. NaN where a kind has none.
 * @source H. B. Mann, D. R. Whitney (1947)
 */
export function areaUnderCurve(above: readonly number[], below: readonly number[]): number {
  const ordered = [
    ...above.map((value) => ({ value, own: 1 })),
    ...below.map((value) => ({ value, own: 0 })),
  ];
  ordered.sort((a, b) => a.value - b.value);
  let [pairs, seen] = [0, 0]; // pairs in order; values of the second kind so far
  for (let i = 0; i < ordered.length;) {
    let end = i;
    let own = 0;
    while (end < ordered.length && ordered[end].value === ordered[i].value) own += ordered[end++].own;
    const others = end - i - own;
    pairs += own * (seen + others / 2);
    seen += others;
    i = end;
  }
  return pairs / (above.length * below.length);
}
