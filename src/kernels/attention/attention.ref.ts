/**
 * context[r, h] = softmax over j of (q[r, h] · k[j, h / group] / √headDim) · v[j, h / group], j from the row's range of key rows.
 * @param q        [rows, heads · headDim]
 * @param k        [key rows, kvHeads · headDim]
 * @param v        [key rows, kvHeads · headDim]
 * @param ranges   [rows] first key row that the query row sees, and one past the last
 * @returns        [rows, heads · headDim] f64
 */
export function attentionRef(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  ranges: readonly (readonly [number, number])[],
  { heads, kvHeads, headDim }: { heads: number; kvHeads: number; headDim: number },
): Float64Array {
  const y = new Float64Array(q.length);
  for (const [row, [begin, end]] of ranges.entries()) {
    for (let head = 0; head < heads; head++) {
      const at = (row * heads + head) * headDim;
      const kvHead = Math.floor(head / (heads / kvHeads));
      const keyAt = (key: number): number => (key * kvHeads + kvHead) * headDim;
      const scores: number[] = [];
      for (let key = begin; key < end; key++) {
        let score = 0;
        for (let i = 0; i < headDim; i++) score += q[at + i] * k[keyAt(key) + i];
        scores.push(score / Math.sqrt(headDim));
      }
      const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
      const weights = scores.map((score) => Math.exp(score - largest));
      const sum = weights.reduce((a, b) => a + b, 0);
      for (const [j, weight] of weights.entries()) {
        for (let i = 0; i < headDim; i++) y[at + i] += (weight / sum) * v[keyAt(begin + j) + i];
      }
    }
  }
  return y;
}
