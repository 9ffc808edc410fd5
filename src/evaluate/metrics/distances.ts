/**
 * Edit distances of every prefix of a reference to a whole hypothesis, 32 units of the reference at
 * a time.
 * @returns  [reference.length + 1]
 * @source Myers, 1999; blocks of words after Hyyrö, 2003
 */
export function prefixDistances(reference: readonly string[], hypothesis: readonly string[]): Uint32Array {
  const blocks = Math.ceil(reference.length / 32);
  const equalTo = positionsOf(reference, blocks);
  const up = new Int32Array(blocks).fill(-1); // a bit: the distance grows by one with this unit
  const down = new Int32Array(blocks); // a bit: it falls by one
  for (const unit of hypothesis) equalTo(unit, (equal) => step(up, down, equal));
  const distances = new Uint32Array(reference.length + 1);
  distances[0] = hypothesis.length;
  for (let i = 0; i < reference.length; i++) {
    const [block, bit] = [i >> 5, i & 31];
    distances[i + 1] = distances[i] + ((up[block] >>> bit) & 1) - ((down[block] >>> bit) & 1);
  }
  return distances;
}

/** One unit of the hypothesis. @param equal  bits of the reference's units that equal it */
function step(up: Int32Array, down: Int32Array, equal: Int32Array): void {
  let carry = 1; // the distance of the empty prefix grows with each unit
  for (let b = 0; b < up.length; b++) {
    const [grows, falls] = [up[b], down[b]];
    let match = equal[b];
    const vertical = match | falls;
    if (carry < 0) match |= 1;
    const diagonal = ((((match & grows) + grows) | 0) ^ grows) | match;
    let more = falls | ~(diagonal | grows);
    let less = grows & diagonal;
    const out = more < 0 ? 1 : less < 0 ? -1 : 0; // the highest bit
    more = (more << 1) | (carry > 0 ? 1 : 0);
    less = (less << 1) | (carry < 0 ? 1 : 0);
    up[b] = less | ~(vertical | more);
    down[b] = more & vertical;
    carry = out;
  }
}

/** Bits of the units that equal a unit: kept of frequent ones, made anew of rare ones. */
function positionsOf(
  units: readonly string[],
  blocks: number,
): (unit: string, use: (bits: Int32Array) => void) => void {
  const places = new Map<string, number[]>();
  for (const [i, unit] of units.entries()) {
    const list = places.get(unit);
    if (list) list.push(i);
    else places.set(unit, [i]);
  }
  const scratch = new Int32Array(blocks);
  const kept = new Map<string, Int32Array>();
  const mark = (bits: Int32Array, list: readonly number[]): void => {
    for (const i of list) bits[i >> 5] |= 1 << (i & 31);
  };
  for (const [unit, list] of places) {
    if (list.length <= blocks) continue;
    const bits = new Int32Array(blocks);
    mark(bits, list);
    kept.set(unit, bits);
  }
  return (unit, use) => {
    const bits = kept.get(unit);
    if (bits) {
      use(bits);
      return;
    }
    const list = places.get(unit) ?? [];
    mark(scratch, list);
    use(scratch);
    for (const i of list) scratch[i >> 5] = 0;
  };
}
