import type { BatchRows } from "./counted.js";
import { sum } from "../arrays.js";

interface Pools {
  readonly bytes: { readonly kept: number; readonly reserved: number };
  trim(): void;
}

const slack = 1.1; // of what is planned
/** Sizes of micro-batches whose buffers are remembered: some 15 kB each. */
const mostRemembered = 64;

type Count = (rows: BatchRows) => Promise<readonly number[]>;

/** Counts where the rows are not among the last 64 that were asked for. */
export function remembering(count: Count): Count {
  const counted = new Map<string, Promise<readonly number[]>>();
  return (rows) => {
    const key = JSON.stringify(rows);
    const known = counted.get(key) ?? count(rows);
    counted.delete(key);
    counted.set(key, known); // the last used is the last to go
    if (counted.size > mostRemembered) counted.delete(counted.keys().next().value!);
    return known;
  };
}

/**
 * Keeps the GPU's pools at the size of the largest micro-batch. Pools keep a buffer of each size
 * that was ever used, so batches of other sizes would each add some. Before a batch that would pass
 * the limit, free buffers are destroyed.
 */
export class PoolKeeper {
  /** Buffers of each size that the pools are taken to have. */
  #held = new Map<number, number>();
  #largest = 0;

  /** @param buffers  bytes of each buffer that a micro-batch takes of the pools */
  constructor(
    private readonly gpu: Pools,
    private readonly buffers: Count,
  ) {}

  /**
   * May be called while the GPU works on the micro-batch before this one: counting takes up to 90
   * ms of CPU.
   */
  ahead(rows: BatchRows): void {
    this.buffers(rows).catch(() => undefined); // reported by `before`
  }

  /** To be called before each micro-batch. */
  async before(rows: BatchRows): Promise<void> {
    const sizes = await this.buffers(rows);
    const wanted = new Map<number, number>();
    for (const size of sizes) wanted.set(size, (wanted.get(size) ?? 0) + 1);
    this.#largest = Math.max(this.#largest, sum(sizes));
    let growth = 0;
    for (const [size, count] of wanted) growth += size * Math.max(0, count - (this.#held.get(size) ?? 0));
    const { kept, reserved } = this.gpu.bytes;
    if (growth > 0 && reserved - kept + growth > slack * this.#largest) this.trim();
    for (const [size, count] of wanted) this.#held.set(size, Math.max(count, this.#held.get(size) ?? 0));
  }

  /** Destroys the free buffers: also after work of other sizes. */
  trim(): void {
    this.gpu.trim();
    this.#held = new Map();
  }
}
