import type { HostWork, TimedRun } from "../gpu/timing.js";

/** What a moment of the run is put down to; earlier ones win where several go on at once. */
export const causes = [
  "kernels",
  "between dispatches",
  "bind groups",
  "encode",
  "submit",
  "read",
  "wait, device idle",
] as const;
export type Cause = (typeof causes)[number];

export interface Interval {
  readonly cause: number;
  readonly start: number;
  readonly end: number;
}

/**
 * Milliseconds of [start, end) that belong to each cause: to the first of those that go on at a
 * moment. Intervals may overlap.
 * @returns  [count + 1]; the last is what belongs to none
 */
export function partition(
  intervals: readonly Interval[],
  count: number,
  start: number,
  end: number,
): number[] {
  const edges: { readonly at: number; readonly cause: number; readonly step: 1 | -1 }[] = [];
  for (const { cause, ...interval } of intervals) {
    const [from, to] = [Math.max(interval.start, start), Math.min(interval.end, end)];
    if (to > from) edges.push({ at: from, cause, step: 1 }, { at: to, cause, step: -1 });
  }
  edges.sort((a, b) => a.at - b.at);
  const open = new Array<number>(count).fill(0);
  const sums = new Array<number>(count + 1).fill(0);
  let at = start;
  for (const edge of edges) {
    const owner = open.findIndex((running) => running > 0);
    sums[owner < 0 ? count : owner] += edge.at - at;
    at = edge.at;
    open[edge.cause] += edge.step;
  }
  sums[count] += end - at;
  return sums;
}

/**
 * Milliseconds that are to be taken off the device's clock to get the host's. No command buffer
 * begins before it is handed over, and one that meets an idle device begins soon after: the least
 * distance of all is taken for none.
 */
export function clockOffset({ dispatches, submits }: TimedRun): number {
  let least = Infinity;
  let last = -1;
  for (const { submit, begin } of dispatches) {
    if (submit === last) continue;
    last = submit;
    least = Math.min(least, milliseconds(begin) - submits[submit]);
  }
  return least;
}

/** Nanoseconds of the device's clock as milliseconds. */
export function milliseconds(time: bigint): number {
  return Number(time) / 1e6;
}

const hostCauses: Readonly<Record<HostWork, Cause>> = {
  encode: "encode",
  "bind groups": "bind groups",
  submit: "submit",
  read: "read",
  wait: "wait, device idle",
};

/**
 * A run's wall time by cause; what belongs to none is unattributed.
 * @param wall  its start and end, milliseconds
 */
export function attribute(
  run: TimedRun,
  wall: { readonly start: number; readonly end: number },
): Record<Cause | "unattributed", number> {
  const offset = clockOffset(run);
  const index = (cause: Cause): number => causes.indexOf(cause);
  const intervals: Interval[] = run.host.map(({ work, start, end }) => ({
    cause: index(hostCauses[work]),
    start,
    end,
  }));
  const buffers = new Map<number, { start: number; end: number }>();
  for (const dispatch of run.dispatches) {
    const [start, end] = [milliseconds(dispatch.begin) - offset, milliseconds(dispatch.end) - offset];
    intervals.push({ cause: index("kernels"), start, end });
    const buffer = buffers.get(dispatch.submit);
    if (buffer) buffer.end = end;
    else buffers.set(dispatch.submit, { start, end });
  }
  for (const buffer of buffers.values()) intervals.push({ cause: index("between dispatches"), ...buffer });
  const sums = partition(intervals, causes.length, wall.start, wall.end);
  return Object.fromEntries([...causes, "unattributed"].map((cause, i) => [cause, sums[i]])) as Record<
    Cause | "unattributed",
    number
  >;
}
