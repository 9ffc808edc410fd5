import { countedDevice, countingGpu } from "../gpu/counting.js";
import type { Gpu } from "../gpu/device.js";
import { DeviceMemoryError, GpuError } from "../gpu/errors.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import { type LoadOptions, ParameterLoader, type ParameterSource } from "./loader.js";

/** Bytes that a model takes on the GPU. */
export interface MemoryNeed {
  readonly weights: number;
  /** All else at its peak: to transcribe, the KV cache and activations for a prompt of 30 s of audio and its answer. */
  readonly working: number;
}

/** What a model is loaded for. */
export interface MemoryUse {
  /**
   * Loads the model and does this work on a device that counts.
   * @param gpu      counts; new
   * @param weights  as LoadOptions.weights
   */
  count(gpu: Gpu, weights: WeightFormat | undefined): Promise<MemoryNeed>;
  /** What the working space is for, as a message has it: "to work on 30 s of audio". Absent: there is none. */
  readonly work?: string;
  /** With so many bytes left the work is not counted: there is room. Absent: it always is. */
  readonly ample?: number;
  /** What makes it smaller, next to a format or a model: "a lower --batch-tokens". */
  readonly lower?: string;
}

/**
 * Puts a model on the GPU with a loader of its own, which frees everything where that fails.
 * @returns  what `build` made, and how to give its memory back
 * @throws OutOfMemoryError  before anything is read where the device's limit tells, else when the device refuses a buffer
 */
export async function loadWeights<T extends object>(
  gpu: Gpu,
  source: ParameterSource,
  options: LoadOptions,
  build: (load: ParameterLoader) => Promise<T>,
): Promise<T & { free: () => void }> {
  const memory = new ModelMemory(gpu, source.name, options, async (counting, weights) => {
    await build(new ParameterLoader(counting, source, { weights, tune: options.tune }));
    return { weights: counting.bytes.kept, working: 0 };
  });
  await memory.check();
  const load = new ParameterLoader(gpu, source, options);
  try {
    const parts = await build(load);
    await gpu.finish();
    return { ...parts, free: () => load.free() };
  } catch (error) {
    load.free();
    throw await memory.explain(error);
  }
}

/** A model's load on a device whose memory may be too small for it. */
class ModelMemory {
  readonly #use: MemoryUse;

  /** @param weigh  counts the weights alone, for a load without a use */
  constructor(
    private readonly gpu: Gpu,
    private readonly name: string,
    private readonly options: LoadOptions,
    weigh: MemoryUse["count"],
  ) {
    this.#use = options.use ?? { count: weigh };
  }

  /** Before anything is read. @throws GpuError  the device's limit has no room for the weights and their working space */
  async check(): Promise<void> {
    const { memoryLimit, bytes } = this.gpu;
    const left = memoryLimit - bytes.reserved;
    if (left >= (this.#use.ample ?? Infinity)) return;
    if (total(await this.#need(this.options.weights)) > left)
      throw await this.#refusal(left, `${size(left)} are left`);
  }

  /** What a failed load is reported with: where memory was out, with what would fit. */
  async explain(error: unknown): Promise<unknown> {
    if (!(error instanceof DeviceMemoryError)) return error;
    const reason = `a buffer of ${size(error.asked)} was refused beside ${size(error.granted)}`;
    return this.#refusal(error.granted, reason, { cause: error });
  }

  #need(weights: WeightFormat | undefined): Promise<MemoryNeed> {
    return this.#use.count(countingGpu(countedDevice(this.gpu)), weights);
  }

  async #refusal(room: number, reason: string, options?: ErrorOptions): Promise<OutOfMemoryError> {
    const need = await this.#need(this.options.weights);
    const { work, lower } = this.#use;
    const format = this.options.weights === undefined ? "as stored" : `as ${this.options.weights}`;
    const parts =
      work === undefined ? "" : ` (${size(need.weights)} of weights, ${size(need.working)} ${work})`;
    const smaller: SizedFormat[] = [];
    for (const other of Object.keys(weightBlocks) as WeightFormat[]) {
      const bytes = total(await this.#need(other));
      if (bytes < total(need)) smaller.push({ format: other, bytes });
    }
    return new OutOfMemoryError(
      `${this.name}: out of device memory: ${format} the model needs ${size(total(need))}${parts}, ${reason}; ` +
        fitting(smaller, room, lower),
      options,
    );
  }
}

function total({ weights, working }: MemoryNeed): number {
  return weights + working;
}

/** A model does not fit the device. */
export class OutOfMemoryError extends GpuError {}

interface SizedFormat {
  readonly format: WeightFormat;
  readonly bytes: number;
}

/** Which formats of fewer bytes have room, and what else helps. */
function fitting(smaller: readonly SizedFormat[], room: number, lower: string | undefined): string {
  const formats = smaller.toSorted((a, b) => b.bytes - a.bytes);
  const fits = formats.filter(({ bytes }) => bytes <= room);
  const list = (some: readonly SizedFormat[]): string =>
    some.map(({ format, bytes }) => `${format} (${size(bytes)})`).join(", ");
  if (fits.length > 0)
    return `these --weights would fit: ${list(fits)}${lower === undefined ? "" : `; so may ${lower}`}`;
  const others = ["a smaller model", ...(lower === undefined ? [] : [lower])];
  const advice = `take ${others.join(", ")} or a device with more memory`;
  if (formats.length === 0) return `no --weights are smaller; ${advice}`;
  return `no --weights fit, the smallest being ${list(formats.slice(-1))}; ${advice}`;
}

function size(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB"];
  const unit = Math.min(Math.max(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 0), units.length - 1);
  return unit === 0 ? `${Math.max(bytes, 0)} bytes` : `${(bytes / 1000 ** unit).toFixed(2)} ${units[unit]}`;
}
