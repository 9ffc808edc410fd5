const longestCycle = 32; // tokens
const leastSpan = 24; // tokens that a cycle must have filled: "three three three ..." of a digit string is no loop
const leastRepeats = 4;

/**
 * Length of the tokens before the repeats, where the tokens end in a cycle that fills at least 24
 * tokens in at least 4 repeats; the first turn of the cycle is kept. Undefined where they do not.
 */
export function loopStart(tokens: readonly number[]): number | undefined {
  for (let period = 1; period <= longestCycle; period++) {
    const span = Math.max(leastSpan, leastRepeats * period);
    if (tokens.length < span) continue;
    let matched = period;
    while (matched < tokens.length && tokens.at(-1 - matched) === tokens.at(-1 - matched + period)) matched++;
    if (matched >= span) return tokens.length - matched + period;
  }
  return undefined;
}
