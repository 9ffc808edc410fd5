import { countedDevice, countingGpu } from "../gpu/counting.js";
import type { Gpu } from "../gpu/device.js";
import { DeviceMemoryError, GpuError } from "../gpu/errors.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import { bytes as size } from "../report/text.js";
import { type LoadOptions, ParameterLoader, type ParameterSource } from "./loader.js";

/** GPU memory of a model, bytes. */
export interface MemoryNeed {
  readonly weights: number;
  /** The peak of all else, such as KV cache and activations for 30 s of audio. */
  readonly working: number;
}

/** The work that a model is loaded for. */
export interface MemoryUse {
  /**
   * Loads the model and does the work on a counting device.
   * @param gpu      a new counting device
   * @param weights  as LoadOptions.weights
   */
  count(gpu: Gpu, weights: WeightFormat | undefined): Promise<MemoryNeed>;
  /** The purpose of the working space in messages: "to work on 30 s of audio". */
  readonly work?: string;
  /** With this many bytes left the work need not be counted. Absent: it is always counted. */
  readonly ample?: number;
  /** Another way to need less, for messages: "a lower --batch-tokens". */
  readonly lower?: string;
}

/**
 * Loads a model to the GPU. Everything is freed if that fails.
 * @returns  the parts that `build` made, and `free`
 * @throws OutOfMemoryError  before anything is read if the device has a known limit, else when it
 *   refuses a buffer
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

/** The memory check of one load. */
class ModelMemory {
  readonly #use: MemoryUse;

  /** @param weigh  counts only the weights, for a load without a use */
  constructor(
    private readonly gpu: Gpu,
    private readonly name: string,
    private readonly options: LoadOptions,
    weigh: MemoryUse["count"],
  ) {
    this.#use = options.use ?? { count: weigh };
  }

  /**
   * Called before anything is read.
   * @throws OutOfMemoryError  weights and working space do not fit the device's limit
   */
  async check(): Promise<void> {
    const { memoryLimit, bytes } = this.gpu;
    const left = memoryLimit - bytes.reserved;
    if (left >= (this.#use.ample ?? Infinity)) return;
    if (total(await this.#need(this.options.weights)) > left)
      throw await this.#refusal(left, `${size(Math.max(left, 0))} are left`);
  }

  /** The error to report for a failed load: OutOfMemoryError if memory ran out. */
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

/** The model does not fit the device. */
export class OutOfMemoryError extends GpuError {}

interface SizedFormat {
  readonly format: WeightFormat;
  readonly bytes: number;
}

/** Advice: the smaller formats that fit, or other ways to need less. */
function fitting(smaller: readonly SizedFormat[], room: number, lower: string | undefined): string {
  const formats = smaller.toSorted((a, b) => b.bytes - a.bytes);
  const fits = formats.filter(({ bytes }) => bytes <= room);
  const list = (sized: readonly SizedFormat[]): string =>
    sized.map(({ format, bytes }) => `${format} (${size(bytes)})`).join(", ");
  if (fits.length > 0)
    return `these --weights would fit: ${list(fits)}${lower === undefined ? "" : `; so may ${lower}`}`;
  const others = ["a smaller model", ...(lower === undefined ? [] : [lower])];
  const advice = `take ${others.join(", ")} or a device with more memory`;
  if (formats.length === 0) return `no --weights are smaller; ${advice}`;
  return `no --weights fit, the smallest being ${list(formats.slice(-1))}; ${advice}`;
}
