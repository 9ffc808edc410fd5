import { distances, moves, wholeDistance } from "./ter-distance.js";

const longestShift = 10; // words
const farthestShift = 50; // positions
const mostCandidates = 1000; // of one pair of lines

/** A block of words moved elsewhere. Tercom's order decides between several. */
interface Shift {
  readonly gain: number;
  readonly length: number;
  readonly start: number;
  readonly target: number;
  readonly words: readonly string[];
}

/**
 * Edits from a hypothesis to a reference: insertions, deletions, substitutions, and shifts of a
 * block of words, which count 1. Shifts are found greedily, the best one each time. @source Tercom,
 * as sacrebleu has it
 */
export function leastEdits(hypothesis: readonly string[], reference: readonly string[]): number {
  if (reference.length === 0) return hypothesis.length;
  let words = hypothesis;
  let shifts = 0;
  let checked = 0;
  for (;;) {
    const found = bestShift(words, reference, checked);
    checked = found.checked;
    if (checked >= mostCandidates || !found.best || found.best.gain <= 0) break;
    shifts++;
    words = found.best.words;
  }
  return shifts + wholeDistance(distances(words, reference));
}

function bestShift(
  words: readonly string[],
  reference: readonly string[],
  before: number,
): { best?: Shift; checked: number } {
  const base = distances(words, reference);
  const edits = wholeDistance(base);
  const { aligned, wrongReference, wrongWords } = alignment(moves(base));
  let best: Shift | undefined;
  let checked = before;
  for (const { start, at, length } of equalBlocks(words, reference)) {
    if (!wrongWords.slice(start, start + length).includes(true)) continue;
    if (!wrongReference.slice(at, at + length).includes(true)) continue;
    if (aligned[at] >= start && aligned[at] < start + length) continue; // within the block itself
    let previous = -1;
    for (let offset = -1; offset < length; offset++) {
      const before = at + offset;
      if (before >= aligned.length) break;
      const target = before === -1 ? 0 : aligned[before] + 1;
      if (target === previous) continue;
      previous = target;
      const shifted = move(words, start, length, target);
      const gain = edits - wholeDistance(distances(shifted, reference, base));
      const candidate = { gain, length, start, target, words: shifted };
      checked++;
      if (!best || isBetter(candidate, best)) best = candidate;
    }
    if (checked >= mostCandidates) break;
  }
  return { best, checked };
}

/** More gain, then the longer block, then the earlier, then the earlier target. */
function isBetter(a: Shift, b: Shift): boolean {
  return (a.gain - b.gain || a.length - b.length || b.start - a.start || b.target - a.target) > 0;
}

/** Blocks of words that both lines have, at positions not too far apart. */
function* equalBlocks(
  words: readonly string[],
  reference: readonly string[],
): Generator<{ start: number; at: number; length: number }> {
  for (let start = 0; start < words.length; start++) {
    for (let at = 0; at < reference.length; at++) {
      if (Math.abs(at - start) > farthestShift) continue;
      let length = 0;
      while (
        start + length < words.length &&
        at + length < reference.length &&
        words[start + length] === reference[at + length] &&
        length < longestShift
      ) {
        yield { start, at, length: ++length };
      }
    }
  }
}

function move(words: readonly string[], start: number, length: number, target: number): string[] {
  const block = words.slice(start, start + length);
  const rest = [...words.slice(0, start), ...words.slice(start + length)];
  const index = target < start ? target : target > start + length ? target - length : target;
  return [...rest.slice(0, index), ...block, ...rest.slice(index)];
}

/** Where each word of the reference lies in the hypothesis, and which words of both are wrong. */
function alignment(steps: string): {
  aligned: number[];
  wrongReference: boolean[];
  wrongWords: boolean[];
} {
  const aligned: number[] = [];
  const wrongReference: boolean[] = [];
  const wrongWords: boolean[] = [];
  for (const step of steps) {
    const wrong = step !== "=";
    if (step !== "i") wrongWords.push(wrong); // i: the reference has a word more
    if (step !== "d") {
      aligned.push(wrongWords.length - 1);
      wrongReference.push(wrong);
    }
  }
  return { aligned, wrongReference, wrongWords };
}
