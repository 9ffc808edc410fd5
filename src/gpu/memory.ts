import { DeviceMemoryError, GpuError } from "./errors.js";
import type { Allocation } from "./tensor.js";

/** Bits that the WebGPU standard fixes. A browser has them as globals, Node does not. */
export const bufferUsage = {
  mapRead: 0x01,
  copySrc: 0x04,
  copyDst: 0x08,
  uniform: 0x40,
  storage: 0x80,
  queryResolve: 0x200,
} as const;
export const mapRead = 0x01;

/** Makes a device's buffers and counts their bytes. */
export class DeviceMemory {
  #bytes = 0;
  #peak = 0;
  #nextId = 0;
  #unchecked: Promise<void>[] = [];

  /** @param limit  bytes of buffers at most */
  constructor(
    private readonly device: GPUDevice,
    readonly limit = Infinity,
  ) {}

  /** Bytes of all buffers that were made and not destroyed. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The most that `bytes` has been. */
  get peak(): number {
    return this.#peak;
  }

  /**
   * @throws DeviceMemoryError  the limit is passed. What the device itself refuses is for `check`.
   */
  create(bytes: number, usage: GPUBufferUsageFlags): Allocation {
    const before = this.#bytes;
    if (before + bytes > this.limit) {
      throw new DeviceMemoryError(bytes, before, `the limit is ${this.limit} bytes`);
    }
    const id = this.#nextId++;
    this.device.pushErrorScope("out-of-memory");
    const buffer = this.device.createBuffer({ label: `buffer ${id} of ${bytes} bytes`, size: bytes, usage });
    const allocation: Allocation = { id, buffer, bytes };
    const checked = this.device.popErrorScope().then((error) => {
      if (!error) return;
      allocation.refused = true;
      throw new DeviceMemoryError(bytes, before, error.message);
    });
    checked.catch(() => undefined); // reported by check()
    this.#unchecked.push(checked);
    this.#bytes += bytes;
    this.#peak = Math.max(this.#peak, this.#bytes);
    return allocation;
  }

  destroy({ buffer, bytes }: Allocation): void {
    buffer.destroy();
    this.#bytes -= bytes;
  }

  /**
   * Settles when the device has said that it has room for every buffer made since the last call.
   * @throws DeviceMemoryError
   */
  async check(): Promise<void> {
    await Promise.all(this.#unchecked.splice(0));
  }
}

/**
 * Sizes in use grow by quarters of a power of two, so that clips of many lengths share buffers
 * (waste < 25 %).
 */
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
 * Buffers of one usage that go back and forth between a step and the free lists. The free buffer
 * with the lowest id is always taken first, so equal sequences of requests get equal buffers: that
 * is what lets a decoding step find all of its bind groups in the cache.
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
    while (allocation?.refused) {
      this.#reserved -= size;
      this.destroy(allocation);
      allocation = this.#free.get(size)?.shift();
    }
    if (!allocation) {
      allocation = this.create(size);
      this.#reserved += size;
    }
    this.#live += size;
    this.#lent.add(allocation.id);
    return allocation;
  }

  /** Whether the buffer with this id is lent out. */
  lends(id: number): boolean {
    return this.#lent.has(id);
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

interface Pin {
  count: number;
  /** Its scope has ended: it goes back to the pool with the last pin. */
  orphan: boolean;
}

/**
 * Allocations that must outlive the scope they were made in. Pins count: what is pinned twice is
 * freed by the second unpin.
 */
export class Pins {
  readonly #pins = new Map<Allocation, Pin>();

  add(allocation: Allocation): void {
    const pin = this.#pins.get(allocation);
    if (pin) pin.count++;
    else this.#pins.set(allocation, { count: 1, orphan: false });
  }

  /** Takes one pin away; true if the allocation is to go back to the pool now. */
  drop(allocation: Allocation): boolean {
    const pin = this.#pins.get(allocation);
    if (!pin || --pin.count > 0) return false;
    this.#pins.delete(allocation);
    return pin.orphan;
  }

  /** Called when an allocation's scope ends; true if a pin keeps it. */
  keeps(allocation: Allocation): boolean {
    const pin = this.#pins.get(allocation);
    if (pin) pin.orphan = true;
    return pin !== undefined;
  }

  /** Drops every pin; what they alone kept. */
  drain(): Allocation[] {
    const orphans = [...this.#pins].filter(([, { orphan }]) => orphan).map(([allocation]) => allocation);
    this.#pins.clear();
    return orphans;
  }
}
