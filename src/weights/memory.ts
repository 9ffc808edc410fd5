import type { Gpu } from "../gpu/device.js";
import { DeviceMemoryError, GpuError } from "../gpu/errors.js";
import { type WeightFormat, rowBytes, rowScaleBytes, weightBlocks } from "../gpu/matrix.js";
import { byteCount } from "../gpu/tensor.js";
import type { ModelParts } from "../config/model-config.js";
import { type LoadOptions, ParameterLoader, type ParameterSource } from "./loader.js";
import { weightFormat } from "./pieces.js";

/** Bytes that a model takes on the GPU. */
export interface MemoryNeed {
  readonly weights: number;
  /** All else: to transcribe, the KV cache and activations for a prompt of 30 s of audio and its answer. */
  readonly working: number;
}

/** What a model is loaded for. */
export interface MemoryUse {
  /** What it takes with the weights in a format. @param weights  as LoadOptions.weights */
  need(weights: WeightFormat | undefined): MemoryNeed;
  /** What the working space is for, as a message has it: "to work on 30 s of audio". */
  readonly work: string;
  /** What makes it smaller, next to a format or a model: "a lower --batch-tokens". */
  readonly lower?: string;
}

/** Seconds of audio that the working space is told for. */
const seconds = 30;
/** Rows of its prompt: one for each 60 ms, and text around them. */
const promptRows = Math.ceil(seconds / 0.06) + 64;
/** Tokens of its answer at most, by the default limit. */
const answerRows = Math.ceil(seconds / 0.06) + 32;

/** The pools round sizes up, and a buffer of one size serves no other. Holds at tiny and at full size (see memory.test.ts). */
const poolSpare = 1.5;

/** What a model needs, from its tensors' shapes and types alone. @param weights  as LoadOptions.weights */
export function memoryNeed(
  { tensors }: Pick<ParameterSource, "tensors">,
  config: ModelParts,
  weights?: WeightFormat,
): MemoryNeed {
  let bytes = 0;
  for (const { dtype, shape } of tensors.values()) {
    const format = shape.length === 2 ? weightFormat(dtype, shape[1], weights) : undefined;
    bytes += format
      ? shape[0] * (rowBytes(shape[1], format) + rowScaleBytes(shape[1], format))
      : byteCount(shape, "f32");
  }
  return { weights: bytes, working: workingBytes(config) };
}

/** Keys and values of every layer, and activations of the encoder, the adaptor and the LLM's prefill, all f32. */
function workingBytes({ llm, encoder, adaptor }: ModelParts): number {
  const cache = 2 * llm.layers * llm.kvHeads * llm.headDim * (promptRows + answerRows);
  const heads = 2 * (llm.heads + llm.kvHeads) * llm.headDim;
  let widths = 8 * llm.hiddenSize + heads + 3 * llm.intermediateSize;
  if (encoder) widths += 4 * encoder.inputSize + 10 * encoder.hiddenSize + encoder.intermediateSize;
  if (adaptor) widths += adaptor.projectorHiddenSize + 10 * llm.hiddenSize + adaptor.intermediateSize;
  return 4 * (cache + poolSpare * promptRows * widths + 2 * llm.vocabSize);
}

/**
 * Puts a model on the GPU with a loader of its own, which frees everything where that fails.
 * @returns  what `build` made, and how to give its memory back
 * @throws OutOfMemoryError  before anything is read where the device's limit tells, else when the device refuses a buffer
 */
export async function loadWeights<T extends object>(
  gpu: Gpu,
  config: ModelParts,
  source: ParameterSource,
  options: LoadOptions,
  build: (load: ParameterLoader) => Promise<T>,
): Promise<T & { free: () => void }> {
  const memory = new ModelMemory(gpu, source, config, options);
  memory.check();
  const load = new ParameterLoader(gpu, source, options);
  try {
    const parts = await build(load);
    await gpu.finish();
    return { ...parts, free: () => load.free() };
  } catch (error) {
    load.free();
    throw memory.explain(error);
  }
}

/** A model's load on a device whose memory may be too small for it. */
class ModelMemory {
  readonly #use: MemoryUse;
  readonly #need: MemoryNeed;

  constructor(
    private readonly gpu: Gpu,
    private readonly source: ParameterSource,
    config: ModelParts,
    private readonly options: LoadOptions,
  ) {
    this.#use = options.use ?? {
      need: (weights) => memoryNeed(source, config, weights),
      work: `to work on ${seconds} s of audio`,
    };
    this.#need = this.#use.need(options.weights);
  }

  /** Before anything is read. @throws GpuError  the device's limit has no room for the weights and their working space */
  check(): void {
    const left = this.gpu.memoryLimit - this.gpu.bytes.reserved;
    const { weights, working } = this.#need;
    if (weights + working > left) throw this.#refusal(left, `${size(left)} are left`);
  }

  /** What a failed load is reported with: where memory was out, with what would fit. */
  explain(error: unknown): unknown {
    if (!(error instanceof DeviceMemoryError)) return error;
    const reason = `a buffer of ${size(error.asked)} was refused beside ${size(error.granted)}`;
    return this.#refusal(error.granted, reason, { cause: error });
  }

  #refusal(room: number, reason: string, options?: ErrorOptions): OutOfMemoryError {
    const { weights, working } = this.#need;
    const format = this.options.weights ?? "stored";
    const advice = fitting(this.#use, this.options.weights, room);
    return new OutOfMemoryError(
      `${this.source.name}: out of device memory: ${format === "stored" ? "as stored" : `as ${format}`} the model needs ` +
        `${size(weights + working)} (${size(weights)} of weights, ${size(working)} ${this.#use.work}), ${reason}; ${advice}`,
      options,
    );
  }
}

/** A model does not fit the device. */
export class OutOfMemoryError extends GpuError {}

/** The formats of fewer bytes, and which of them have room. */
function fitting(use: MemoryUse, weights: WeightFormat | undefined, room: number): string {
  const total = (format?: WeightFormat): number => {
    const need = use.need(format);
    return need.weights + need.working;
  };
  const { lower } = use;
  const formats = (Object.keys(weightBlocks) as WeightFormat[])
    .map((format) => ({ format, bytes: total(format) }))
    .filter(({ bytes }) => bytes < total(weights))
    .sort((a, b) => b.bytes - a.bytes);
  const fits = formats.filter(({ bytes }) => bytes <= room);
  const told = (list: typeof formats): string =>
    list.map(({ format, bytes }) => `${format} (${size(bytes)})`).join(", ");
  if (fits.length > 0)
    return `these --weights would fit: ${told(fits)}${lower === undefined ? "" : `; so may ${lower}`}`;
  const others = ["a smaller model", ...(lower === undefined ? [] : [lower])];
  const advice = `take ${others.join(", ")} or a device with more memory`;
  if (formats.length === 0) return `no --weights are smaller; ${advice}`;
  return `no --weights fit, the smallest being ${told(formats.slice(-1))}; ${advice}`;
}

function size(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB"];
  const unit = Math.min(Math.max(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 0), units.length - 1);
  return unit === 0 ? `${Math.max(bytes, 0)} bytes` : `${(bytes / 1000 ** unit).toFixed(2)} ${units[unit]}`;
}
