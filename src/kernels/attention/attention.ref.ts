/**
 * context[r, h] = softmax over j of (q[r, h] · k[j, h / group] / √headDim) · v[j, h / group], j
 * from the row's range of key rows.
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

export interface AttentionGradientsRef {
  readonly dq: Float64Array;
  readonly dk: Float64Array;
  readonly dv: Float64Array;
}

/**
 * Gradients of attentionRef. With P the probabilities of a row and head: dv += P · dy; dS = P · (dy
 * · v - Σ P (dy · v)) / √headDim; dq = Σ dS · k; dk += dS · q.
 * @param dy      [rows, heads · headDim]
 * @param inputs  q [rows, heads · headDim]; k and v [key rows, kvHeads · headDim]
 * @param ranges  [rows] first key row that the query row sees, and one past the last
 */
export function attentionBackwardRef(
  dy: ArrayLike<number>,
  { q, k, v }: { q: ArrayLike<number>; k: ArrayLike<number>; v: ArrayLike<number> },
  ranges: readonly (readonly [number, number])[],
  { heads, kvHeads, headDim }: { heads: number; kvHeads: number; headDim: number },
): AttentionGradientsRef {
  const [dq, dk, dv] = [q, k, v].map((x) => new Float64Array(x.length));
  const dot = (a: ArrayLike<number>, at: number, b: ArrayLike<number>, bt: number): number => {
    let sum = 0;
    for (let i = 0; i < headDim; i++) sum += a[at + i] * b[bt + i];
    return sum;
  };
  for (const [row, [begin, end]] of ranges.entries()) {
    for (let head = 0; head < heads; head++) {
      const at = (row * heads + head) * headDim;
      const kvHead = Math.floor(head / (heads / kvHeads));
      const keys = Array.from({ length: end - begin }, (_, j) => ((begin + j) * kvHeads + kvHead) * headDim);
      const scores = keys.map((key) => dot(q, at, k, key) / Math.sqrt(headDim));
      const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
      const exponentials = scores.map((score) => Math.exp(score - largest));
      const sum = exponentials.reduce((a, b) => a + b, 0);
      const weights = exponentials.map((value) => value / sum);
      const pulls = keys.map((key) => dot(dy, at, v, key));
      const level = weights.reduce((total, weight, j) => total + weight * pulls[j], 0);
      for (const [j, key] of keys.entries()) {
        const slope = (weights[j] * (pulls[j] - level)) / Math.sqrt(headDim);
        for (let i = 0; i < headDim; i++) {
          dq[at + i] += slope * k[key + i];
          dk[key + i] += slope * q[at + i];
          dv[key + i] += weights[j] * dy[at + i];
        }
      }
    }
  }
  return { dq, dk, dv };
}
