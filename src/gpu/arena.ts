import { GpuError } from "./errors.js";
import type { Allocation } from "./tensor.js";

/** Sizes in use grow by quarters of a power of two, so that clips of many lengths share buffers (waste < 25 %). */
export function bucketBytes(bytes: number): number {
  const least = Math.max(bytes, 256);
  const quarter = 2 ** Math.floor(Math.log2(least)) / 4;
  return Math.ceil(least / quarter) * quarter;
}

/** Index at which an allocation with this id belongs in a list that is sorted by id. */
function insertionIndex(list: readonly Allocation[], id: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle].id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Buffers of one usage that go back and forth between a step and the free lists.
 * The free buffer with the lowest id is always taken first, so equal sequences of requests get equal buffers:
 * that is what lets a decoding step find all of its bind groups in the cache.
 */
export class Pool {
  readonly #free = new Map<number, Allocation[]>();
  readonly #lent = new Set<number>();
  #reserved = 0;
  #live = 0;

  constructor(
    private readonly create: (bytes: number) => Allocation,
    private readonly destroy: (allocation: Allocation) => void,
  ) {}

  /** Bytes of all buffers of this pool, lent or free. */
  get reservedBytes(): number {
    return this.#reserved;
  }

  /** Bytes of the buffers that are lent out. */
  get liveBytes(): number {
    return this.#live;
  }

  take(bytes: number): Allocation {
    const size = bucketBytes(bytes);
    let allocation = this.#free.get(size)?.shift();
    if (!allocation) {
      allocation = this.create(size);
      this.#reserved += size;
    }
    this.#live += size;
    this.#lent.add(allocation.id);
    return allocation;
  }

  /** Takes a buffer back. @throws GpuError  it was not lent, or came back before */
  give(allocation: Allocation): void {
    if (!this.#lent.delete(allocation.id))
      throw new GpuError("release: expected a tensor that is held, got one that is not or no longer");
    let list = this.#free.get(allocation.bytes);
    if (!list) this.#free.set(allocation.bytes, (list = []));
    list.splice(insertionIndex(list, allocation.id), 0, allocation);
    this.#live -= allocation.bytes;
  }

  /** Destroys a lent buffer instead of taking it back. */
  discard(allocation: Allocation): void {
    if (!this.#lent.delete(allocation.id)) return;
    this.#live -= allocation.bytes;
    this.#reserved -= allocation.bytes;
    this.destroy(allocation);
  }

  /** Destroys every free buffer. */
  trim(): void {
    for (const list of this.#free.values()) {
      for (const allocation of list) {
        this.#reserved -= allocation.bytes;
        this.destroy(allocation);
      }
    }
    this.#free.clear();
  }
}
