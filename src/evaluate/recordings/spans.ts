import type { TimeSpan } from "../../data/timed-text.js";

/** Seconds of the spans up to a time. The spans are in the order of time; overlaps count once. */
export function coverage(spans: readonly TimeSpan[]): (time: number) => number {
  const [starts, ends, before]: number[][] = [[], [], []];
  let [total, from] = [0, 0];
  for (const span of spans) {
    const start = Math.max(span.start, from);
    if (span.end <= start) continue;
    starts.push(start);
    ends.push(span.end);
    before.push(total);
    total += span.end - start;
    from = span.end;
  }
  return (time) => {
    let [low, high] = [0, starts.length]; // the first span that starts at `time` or later
    while (low < high) {
      const middle = (low + high) >> 1;
      if (starts[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : before[low - 1] + Math.min(time, ends[low - 1]) - starts[low - 1];
  };
}

/** Whether a time is in one of the spans, which are in the order of time. */
export function within(spans: readonly TimeSpan[]): (time: number) => boolean {
  const covered = coverage(spans);
  const least = 1e-6;
  return (time) => covered(time + least) - covered(time - least) > least / 2;
}

/** What is left of spans without others, both in the order of time. */
export function without(spans: readonly TimeSpan[], others: readonly TimeSpan[]): TimeSpan[] {
  const left: TimeSpan[] = [];
  let first = 0;
  for (const { start, end } of spans) {
    while (first < others.length && others[first].end <= start) first++;
    let from = start;
    for (let i = first; i < others.length && others[i].start < end; i++) {
      if (others[i].start > from) left.push({ start: from, end: others[i].start });
      from = Math.max(from, others[i].end);
    }
    if (from < end) left.push({ start: from, end });
  }
  return left;
}
