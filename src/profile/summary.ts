import type { HostWork, TimedDispatch, TimedRun } from "../gpu/timing.js";
import type { Ceilings } from "./ceiling.js";
import { type Cost, costOf } from "../kernels/cost.js";
import { type Cause, attribute } from "./timeline.js";

/** Dispatches that have something in common, added up. */
export interface Group {
  readonly stage: string;
  readonly kernel: string;
  /**
   * Shape of a product, rows × K × columns, and the like; empty where all of a kernel's calls are
   * added up.
   */
  readonly shape: string;
  readonly calls: number;
  /**
   * Of the device, all calls. A call that took less than the clock's step is counted as one step.
   */
  readonly milliseconds: number;
  /** Some calls took less than one step of the clock: the time is at most this. */
  readonly atMost: boolean;
  readonly bytes: number;
  /** Undefined where a kernel's shapes do not give it. */
  readonly flops: number | undefined;
  /** A second. */
  readonly bandwidth: number;
  readonly flopRate: number | undefined;
  /**
   * Of the adapter's ceiling that is nearer: its copies' bandwidth or its multiplications and
   * additions.
   */
  readonly share: number;
  readonly bound: "memory" | "arithmetic";
}

export interface Profile {
  /** Milliseconds of the run that was profiled. */
  readonly wall: number;
  /** Milliseconds of the same run without. */
  readonly plainWall: number;
  /** Nanoseconds: the times are whole multiples of it. */
  readonly quantum: number;
  readonly submits: number;
  readonly dispatches: number;
  readonly stages: readonly Group[];
  readonly kernels: readonly Group[];
  readonly shapes: readonly Group[];
  /** Milliseconds of the wall time; they add up to it. */
  readonly causes: Readonly<Record<Cause | "unattributed", number>>;
  /** Milliseconds of the host's work, also where the device runs meanwhile. */
  readonly host: Readonly<Record<HostWork, number>>;
  readonly ceilings: Ceilings;
}

/** A dispatch's stage: a step that is replayed is a token's. */
export function stageOf({ program, label }: TimedDispatch): string {
  return program ? "decode" : label;
}

/** Step of a clock, nanoseconds: the greatest that all of its times are multiples of. */
export function clockStep(times: readonly bigint[]): number {
  let step = 0n;
  for (const time of times) {
    let [a, b] = [time < times[0] ? times[0] - time : time - times[0], step];
    while (b > 0n) [a, b] = [b, a % b];
    step = a;
    if (step === 1n) break;
  }
  return Number(step);
}

interface Sum {
  calls: number;
  nanoseconds: number;
  atMost: boolean;
  bytes: number;
  flops: number | undefined;
}

/** Adds up dispatches by a key of stage, kernel and shape. */
class Sums {
  readonly #sums = new Map<string, { key: readonly string[]; sum: Sum }>();

  add(key: readonly string[], nanoseconds: number, step: number, { bytes, flops }: Cost): void {
    const id = key.join("|");
    let entry = this.#sums.get(id);
    if (!entry) {
      entry = { key, sum: { calls: 0, nanoseconds: 0, atMost: false, bytes: 0, flops: 0 } };
      this.#sums.set(id, entry);
    }
    const { sum } = entry;
    sum.calls++;
    sum.nanoseconds += Math.max(nanoseconds, step);
    sum.atMost ||= nanoseconds < step;
    sum.bytes += bytes;
    sum.flops = sum.flops === undefined || flops === undefined ? undefined : sum.flops + flops;
  }

  /** The groups in the order of their first dispatch. */
  groups({ bandwidth, flops }: Ceilings): Group[] {
    return [...this.#sums.values()].map(({ key: [stage, kernel, shape], sum }) => {
      const seconds = sum.nanoseconds / 1e9;
      const memory = sum.bytes / seconds / bandwidth.max;
      const arithmetic = (sum.flops ?? 0) / seconds / flops.max;
      return {
        stage,
        kernel,
        shape,
        calls: sum.calls,
        milliseconds: 1000 * seconds,
        atMost: sum.atMost,
        bytes: sum.bytes,
        flops: sum.flops,
        bandwidth: sum.bytes / seconds,
        flopRate: sum.flops === undefined ? undefined : sum.flops / seconds,
        share: Math.max(memory, arithmetic),
        bound: arithmetic > memory ? "arithmetic" : "memory",
      };
    });
  }
}

const longestFirst = (groups: Group[]): Group[] => groups.sort((a, b) => b.milliseconds - a.milliseconds);

/**
 * What a run did and how near it came to what the adapter can.
 * @param wall  its start and end, milliseconds of `performance.now`
 */
export function summarise(
  run: TimedRun,
  wall: { readonly start: number; readonly end: number },
  plainWall: number,
  ceilings: Ceilings,
): Profile {
  const step = clockStep(run.dispatches.flatMap(({ begin, end }) => [begin, end]));
  const [stages, kernels, shapes] = [new Sums(), new Sums(), new Sums()];
  for (const timed of run.dispatches) {
    const { kernel, dispatch, contents, begin, end } = timed;
    const cost = costOf(kernel.name, dispatch, contents);
    const stage = stageOf(timed);
    const time = Number(end - begin);
    stages.add([stage, "", ""], time, step, cost);
    kernels.add([stage, kernel.name, ""], time, step, cost);
    shapes.add([stage, kernel.name, cost.shape], time, step, cost);
  }
  const host = { encode: 0, "bind groups": 0, submit: 0, wait: 0, read: 0 };
  for (const { work, start, end } of run.host) host[work] += end - start;
  host.encode -= host["bind groups"]; // made while a step is recorded
  return {
    wall: wall.end - wall.start,
    plainWall,
    quantum: step,
    submits: run.submits.length,
    dispatches: run.dispatches.length,
    stages: stages.groups(ceilings),
    kernels: longestFirst(kernels.groups(ceilings)),
    shapes: longestFirst(shapes.groups(ceilings)),
    causes: attribute(run, wall),
    host,
    ceilings,
  };
}
