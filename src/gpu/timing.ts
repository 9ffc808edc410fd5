import { GpuError } from "./errors.js";
import type { Dispatch, Kernel } from "./kernel.js";
import { bufferUsage, mapRead } from "./memory.js";
import { type Command, encode } from "./pipelines.js";
import type { Tensor } from "./tensor.js";

/**
 * Some work of the host: recording a step, making bind groups within it, submitting, waiting,
 * copying results out.
 */
export type HostWork = "encode" | "bind groups" | "submit" | "wait" | "read";

export interface HostSpan {
  readonly work: HostWork;
  /** Milliseconds of `performance.now`. */
  readonly start: number;
  readonly end: number;
}

/** One dispatch as the device ran it. */
export interface TimedDispatch {
  readonly kernel: Kernel;
  readonly dispatch: Dispatch;
  /**
   * Contents, at the step's start, of the u32 arrays that it reads, by binding name, as far as they
   * were written while timing.
   */
  readonly contents: Readonly<Record<string, Uint32Array>>;
  /** Number of the submit, counted from 0. */
  readonly submit: number;
  /** What `Timing.label` was when it was recorded. */
  readonly label: string;
  /** Whether its step is a Program. */
  readonly program: boolean;
  /** Nanoseconds of the device's clock. */
  readonly begin: bigint;
  readonly end: bigint;
}

/** What a run did, on the device and on the host. */
export interface TimedRun {
  readonly dispatches: readonly TimedDispatch[];
  readonly host: readonly HostSpan[];
  /** When each command buffer was handed over, milliseconds of `performance.now`. */
  readonly submits: readonly number[];
}

const queries = 4096; // of a query set: what every device grants
const querySetBytes = 8 * queries;

/** Dispatches that share a query set, and the copies that bring their times to the host. */
interface QueryBlock {
  readonly set: GPUQuerySet;
  readonly resolved: GPUBuffer;
  readonly staging: GPUBuffer;
  readonly dispatches: Omit<TimedDispatch, "begin" | "end">[];
}

/**
 * Takes the time of every dispatch by a compute pass of its own between two timestamps, and of the
 * host's work around it. Set as `gpu.timing` for the run that is looked at; a Gpu without one does
 * nothing of this.
 */
export class Timing {
  /** What the next dispatches belong to. */
  label = "";
  /** Whether the step that is being recorded is a Program. */
  program = false;
  readonly host: HostSpan[] = [];
  readonly #blocks: QueryBlock[] = [];
  readonly #submits: number[] = [];
  readonly #contents = new Map<number, Uint32Array>();
  #unresolved: QueryBlock[] = [];

  /** @throws GpuError  the device was opened without the feature timestamp-query */
  constructor(private readonly device: GPUDevice) {
    if (!device.features.has("timestamp-query"))
      throw new GpuError("timing: expected a device with the feature timestamp-query, got one without");
  }

  /** Adds a dispatch, in a pass of its own. */
  dispatch(encoder: GPUCommandEncoder, command: Command): void {
    const { kernel, dispatch } = command;
    let block = this.#unresolved.at(-1);
    if (!block || 2 * block.dispatches.length === queries) this.#unresolved.push((block = this.#makeBlock()));
    const first = 2 * block.dispatches.length;
    const timestampWrites = {
      querySet: block.set,
      beginningOfPassWriteIndex: first,
      endOfPassWriteIndex: first + 1,
    };
    const pass = encoder.beginComputePass({ label: kernel.name, timestampWrites });
    encode(pass, command);
    pass.end();
    const contents: Record<string, Uint32Array> = {};
    for (const [name, { allocation }] of Object.entries(dispatch.tensors)) {
      const written = this.#contents.get(allocation.id);
      if (written) contents[name] = written;
    }
    const { label, program } = this;
    block.dispatches.push({ kernel, dispatch, contents, submit: this.#submits.length, label, program });
  }

  /** Adds the copies of the times that this command buffer takes. */
  resolve(encoder: GPUCommandEncoder): void {
    for (const { set, resolved, staging, dispatches } of this.#unresolved) {
      const bytes = 16 * dispatches.length;
      encoder.resolveQuerySet(set, 0, 2 * dispatches.length, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes);
    }
    this.#blocks.push(...this.#unresolved);
    this.#unresolved = [];
  }

  /** A command buffer is about to be handed over. */
  submitted(): void {
    this.#submits.push(performance.now());
  }

  /** Remembers what a u32 array holds, for counting work that depends on it. */
  written({ allocation, dtype, bytes }: Tensor, data: ArrayBufferView, byteOffset = 0): void {
    if (dtype !== "u32") return;
    const before = this.#contents.get(allocation.id);
    const whole = new Uint8Array(bytes);
    if (before && byteOffset > 0) whole.set(new Uint8Array(before.buffer).subarray(0, bytes));
    whole.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), byteOffset);
    this.#contents.set(allocation.id, new Uint32Array(whole.buffer));
  }

  /** Runs `body` and notes how long it took. */
  span<T>(work: HostWork, body: () => T): T {
    const start = performance.now();
    try {
      return body();
    } finally {
      this.host.push({ work, start, end: performance.now() });
    }
  }

  /** Notes how long a promise took. */
  async waiting<T>(promise: Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await promise;
    } finally {
      this.host.push({ work: "wait", start, end: performance.now() });
    }
  }

  /** Brings the times to the host. Call it once, after the last step; the timing is spent then. */
  async collect(): Promise<TimedRun> {
    const dispatches: TimedDispatch[] = [];
    for (const block of this.#blocks) {
      await block.staging.mapAsync(mapRead);
      const times = new BigUint64Array(block.staging.getMappedRange(0, 16 * block.dispatches.length));
      for (const [i, dispatch] of block.dispatches.entries())
        dispatches.push({ ...dispatch, begin: times[2 * i], end: times[2 * i + 1] });
      block.staging.destroy();
      block.resolved.destroy();
      block.set.destroy();
    }
    this.#blocks.length = 0;
    return { dispatches, host: this.host, submits: this.#submits };
  }

  #makeBlock(): QueryBlock {
    const { queryResolve, copySrc, copyDst, mapRead: map } = bufferUsage;
    return {
      set: this.device.createQuerySet({ type: "timestamp", count: queries }),
      resolved: this.device.createBuffer({ size: querySetBytes, usage: queryResolve | copySrc }),
      staging: this.device.createBuffer({ size: querySetBytes, usage: map | copyDst }),
      dispatches: [],
    };
  }
}
