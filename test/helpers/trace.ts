/**
 * One microsecond's thousandth, the resolution of a trace's times, and what adding them as f64 may
 * lose.
 */
const slack = 1e-3 + 1e-6;

interface Event {
  readonly name?: unknown;
  readonly ph?: unknown;
  readonly pid?: unknown;
  readonly tid?: unknown;
  readonly cat?: unknown;
  readonly ts?: unknown;
  readonly dur?: unknown;
  readonly args?: unknown;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isTime = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value) && value >= 0;

/** What is wrong with one event by itself. */
function eventProblems(event: Event): string[] {
  const { name, ph, pid, tid, cat, ts, dur, args } = event;
  const problems: string[] = [];
  const want = (holds: boolean, what: string): void => {
    if (!holds) problems.push(what);
  };
  want(typeof name === "string" && name !== "", "name must be text");
  want(ph === "X" || ph === "M", `ph must be X or M, got ${String(ph)}`);
  want(Number.isInteger(pid) && Number.isInteger(tid), "pid and tid must be integers");
  want(args === undefined || isRecord(args), "args must be an object");
  if (ph === "X") {
    want(typeof cat === "string" && cat !== "", "cat must be text");
    want(isTime(ts) && isTime(dur), `ts and dur must be times, got ${String(ts)} and ${String(dur)}`);
  } else {
    want(
      name === "process_name" || name === "thread_name",
      `a name must be a process's or a thread's, got ${String(name)}`,
    );
    want(isRecord(args) && typeof args.name === "string" && args.name !== "", "a name's args must hold it");
  }
  return problems;
}

/** What is wrong with the complete events of one track, in the file's order. */
function trackProblems(events: readonly { name: string; ts: number; dur: number }[]): string[] {
  const problems: string[] = [];
  const open: { name: string; end: number }[] = [];
  let before = -Infinity;
  for (const { name, ts, dur } of events) {
    if (ts < before) problems.push(`${name} at ${ts} comes after one at ${before}`);
    before = ts;
    while (open.length > 0 && open.at(-1)!.end <= ts + slack) open.pop();
    const outer = open.at(-1);
    if (outer && ts + dur > outer.end + slack)
      problems.push(`${name} at ${ts} ends at ${ts + dur}, ${outer.name} around it at ${outer.end}`);
    open.push({ name, end: ts + dur });
  }
  return problems;
}

/**
 * Everything that is wrong with a trace of complete events and names: fields that the format asks
 * for, time going forward on each track, events that lie in one another or apart, tracks with
 * names.
 * @source "Trace Event Format", the JSON object format of Chrome's tracing
 */
export function traceProblems(text: string): string[] {
  const trace = JSON.parse(text) as { traceEvents?: unknown; displayTimeUnit?: unknown };
  const { traceEvents: events, displayTimeUnit: unit } = trace;
  if (!Array.isArray(events) || events.length === 0) return ["traceEvents must be an array of some events"];
  const problems =
    unit === "ms" || unit === "ns" ? [] : [`displayTimeUnit must be ms or ns, got ${String(unit)}`];
  const tracks = new Map<string, { name: string; ts: number; dur: number }[]>();
  const named = new Set<string>();
  for (const [i, event] of (events as Event[]).entries()) {
    const wrong = isRecord(event) ? eventProblems(event) : ["must be an object"];
    problems.push(...wrong.map((problem) => `event ${i}: ${problem}`));
    if (wrong.length > 0) continue;
    const { name, ph, pid, tid, ts, dur } = event as {
      name: string;
      ph: string;
      pid: number;
      tid: number;
      ts: number;
      dur: number;
    };
    const track = `${pid}.${tid}`;
    if (ph === "M") named.add(name === "process_name" ? String(pid) : track);
    else if (tracks.has(track)) tracks.get(track)!.push({ name, ts, dur });
    else tracks.set(track, [{ name, ts, dur }]);
  }
  for (const [track, list] of tracks) {
    for (const wanted of [track, track.split(".")[0]])
      if (!named.has(wanted)) problems.push(`${wanted} has no name`);
    problems.push(...trackProblems(list).map((problem) => `track ${track}: ${problem}`));
  }
  return problems;
}
