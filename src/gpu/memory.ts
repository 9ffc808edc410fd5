import { DeviceMemoryError } from "./errors.js";
import type { Allocation } from "./tensor.js";

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

  /** @throws DeviceMemoryError  the limit is passed. What the device itself refuses is for `check`. */
  create(bytes: number, usage: GPUBufferUsageFlags): Allocation {
    const before = this.#bytes;
    if (before + bytes > this.limit) {
      throw new DeviceMemoryError(bytes, before, `the limit is ${this.limit} bytes`);
    }
    const id = this.#nextId++;
    this.device.pushErrorScope("out-of-memory");
    const buffer = this.device.createBuffer({ label: `buffer ${id} of ${bytes} bytes`, size: bytes, usage });
    const checked = this.device.popErrorScope().then((error) => {
      if (error) throw new DeviceMemoryError(bytes, before, error.message);
    });
    checked.catch(() => undefined); // reported by check()
    this.#unchecked.push(checked);
    this.#bytes += bytes;
    this.#peak = Math.max(this.#peak, this.#bytes);
    return { id, buffer, bytes };
  }

  destroy({ buffer, bytes }: Allocation): void {
    buffer.destroy();
    this.#bytes -= bytes;
  }

  /** Settles when the device has said that it has room for every buffer made since the last call. @throws DeviceMemoryError */
  async check(): Promise<void> {
    await Promise.all(this.#unchecked.splice(0));
  }
}
