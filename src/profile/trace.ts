import type { TimedRun } from "../gpu/timing.js";
import { costOf } from "../kernels/cost.js";
import { stageOf } from "./summary.js";
import { clockOffset, milliseconds } from "./timeline.js";

/** One event of the trace-event format; times in microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly cat?: string;
  readonly ts?: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, string | number>>;
}

export interface Trace {
  readonly traceEvents: readonly TraceEvent[];
  readonly displayTimeUnit: "ms";
}

const [host, device] = [1, 2]; // process ids
const threads = [
  { pid: host, tid: 1, name: "recording and reading" },
  { pid: host, tid: 2, name: "waiting" },
  { pid: device, tid: 1, name: "kernels" },
  { pid: device, tid: 2, name: "stages" },
];

/** Names first, then track by track as time goes, an event before those that lie in it. */
function inOrder(a: TraceEvent, b: TraceEvent): number {
  if (a.ph !== b.ph) return a.ph === "M" ? -1 : 1;
  return a.pid - b.pid || a.tid - b.tid || (a.ts ?? 0) - (b.ts ?? 0) || (b.dur ?? 0) - (a.dur ?? 0);
}

/**
 * A run as Perfetto and chrome://tracing open it: the host's work, each dispatch, the stages.
 * @source "Trace Event Format", the format of Chrome's tracing
 */
export function traceEvents(run: TimedRun): Trace {
  const offset = clockOffset(run);
  const starts = run.host.map(({ start }) => start);
  const origin = Math.min(...starts, ...run.submits);
  const micros = (at: number): number => Math.round((at - origin) * 1e6) / 1e3;
  const events: TraceEvent[] = [
    { name: "process_name", ph: "M", pid: host, tid: 0, args: { name: "host" } },
    { name: "process_name", ph: "M", pid: device, tid: 0, args: { name: "device" } },
    ...threads.map(({ pid, tid, name }) => ({
      name: "thread_name",
      ph: "M" as const,
      pid,
      tid,
      args: { name },
    })),
  ];
  const add = (
    [pid, tid]: readonly [number, number],
    name: string,
    [start, end]: readonly [number, number],
    args: TraceEvent["args"] = {},
  ): void => {
    const ts = Math.max(micros(start), 0);
    events.push({
      name,
      ph: "X",
      cat: pid === host ? "host" : "device",
      pid,
      tid,
      ts,
      dur: micros(end) - ts,
      args,
    });
  };
  let waited = -Infinity;
  for (const { work, start, end } of run.host) {
    if (work !== "wait") add([host, 1], work, [start, end]);
    else if (end > waited) add([host, 2], work, [Math.max(start, waited), (waited = end)]); // several at once are one
  }
  let stage = { name: "", start: 0, end: 0 };
  for (const timed of run.dispatches) {
    const [start, end] = [milliseconds(timed.begin) - offset, milliseconds(timed.end) - offset];
    const { flops = 0, bytes, shape } = costOf(timed.kernel.name, timed.dispatch, timed.contents);
    const args = { shape, bytes, flops, submit: timed.submit };
    add([device, 1], timed.kernel.name, [start, end], args);
    const name = stageOf(timed);
    if (name === stage.name) stage.end = end;
    else {
      if (stage.name) add([device, 2], stage.name, [stage.start, stage.end]);
      stage = { name, start, end };
    }
  }
  if (stage.name) add([device, 2], stage.name, [stage.start, stage.end]);
  return { traceEvents: events.sort(inOrder), displayTimeUnit: "ms" };
}
