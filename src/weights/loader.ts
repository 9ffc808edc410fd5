import type { GgmlType } from "../formats/container.js";
import type { Dtype } from "../formats/dtypes.js";
import { CheckpointError, tensorField } from "../formats/errors.js";
import { isCounting } from "../gpu/counting.js";
import type { Gpu } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import {
  type Matrix,
  type WeightFormat,
  freeMatrix,
  keepMatrix,
  weightBlocks,
  writeMatrix,
  writeScales,
} from "../gpu/matrix.js";
import type { Trainable } from "../gpu/tape.js";
import { type Tensor, elementCount } from "../gpu/tensor.js";
import type { MemoryUse } from "./memory.js";
import { convertPiece, storedToFloat32, valuesPerUnit, weightFormat } from "./pieces.js";

export type { WeightFormat } from "../gpu/matrix.js";

/** One stored parameter. */
export interface ParameterEntry {
  readonly name: string;
  readonly dtype: Dtype | GgmlType;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** Where parameters come from: an open checkpoint, a golden bundle, a generator. */
export interface ParameterSource {
  /** What errors call it. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, ParameterEntry>;
  /** @param into  as ByteSource.read */
  read(
    entry: ParameterEntry,
    byteOffset: number,
    byteLength: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array>;
}

export interface LoadOptions {
  /** Storage of the weight matrices. Default: as they are in the file (see weightFormat). Norms, biases and FSMN taps are always f32. */
  readonly weights?: WeightFormat;
  /** Parameters that will be trained: f32 whatever `weights` says, each with a gradient. */
  readonly tune?: (name: string) => boolean;
  /** What the model will do: memory for that is checked before anything is read. Default: nothing, it is loaded alone. */
  readonly use?: MemoryUse | undefined;
  /** Called after each piece with the bytes of the files read so far. */
  readonly onProgress?: (bytesRead: number) => void;
  /** Ends the loading before its next read, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** An object of promises → one of what they become; all run at once. */
export async function all<T extends object>(parts: T): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  const entries = Object.entries(parts).map(async ([key, value]) => [key, (await value) as unknown] as const);
  return Object.fromEntries(await Promise.all(entries)) as { [K in keyof T]: Awaited<T[K]> };
}

/** Bytes read at a time: few enough to stay in a core's cache until they are uploaded. */
const pieceBytes = 1 << 20;
/** Values converted at a time at most: 4 MB as f32. */
const pieceValues = 1 << 20;
/** Reads at a time. */
const readers = 4;

/**
 * Puts parameters on the GPU by name and remembers them, so that all are freed together. Many may be asked for at once. On a
 * counting device nothing is read.
 */
export class ParameterLoader {
  readonly #tensors: Tensor[] = [];
  readonly #matrices: Matrix[] = [];
  readonly #buffers = new ReadBuffers(readers, pieceBytes);
  #granted: Promise<void> | undefined;
  #freed = false;
  readonly #trainables: Trainable[] = [];
  #read = 0;

  constructor(
    readonly gpu: Gpu,
    private readonly source: ParameterSource,
    private readonly options: LoadOptions = {},
  ) {}

  /** Norm weight, bias or FSMN taps, as f32 in their own shape. @throws CheckpointError  it is missing */
  async vector(name: string): Promise<Tensor> {
    const entry = this.#entry(name);
    const { dtype, shape, byteLength } = entry;
    const tensor = this.gpu.keep(shape, "f32");
    this.#tensors.push(tensor);
    this.#train(name, tensor);
    await this.#piece(entry, 0, byteLength, (bytes) => {
      const values = storedToFloat32(bytes, dtype, this.source.name);
      this.gpu.write(tensor, values as Float32Array<ArrayBuffer>);
    });
    return tensor;
  }

  /** A weight matrix, streamed in pieces. @throws CheckpointError  it is missing or no matrix of floats */
  async matrix(name: string): Promise<Matrix> {
    const [matrix] = await this.stacked([name]);
    return matrix;
  }

  /**
   * Weight matrices of one width, one below the other: a product with them all is one with a single matrix.
   * @returns  one matrix, or each by itself where they are not all stored alike (as in GGUF files of mixed types), and where
   *           something is trained: ops that read several at once have no gradient
   * @throws CheckpointError  one is missing or no matrix of floats
   */
  async stacked(names: readonly string[]): Promise<readonly Matrix[]> {
    const parts = names.map((name) => this.#matrixEntry(name));
    const [{ entry, format }] = parts;
    const alike =
      !this.options.tune &&
      parts.every((part) => part.format === format && part.entry.shape[1] === entry.shape[1]);
    // Every matrix is made before the first wait: one that was made after a failure elsewhere would never be freed.
    const groups = alike ? [parts] : parts.map((part) => [part]);
    const matrices = groups.map((group) => {
      const rows = group.reduce((sum, part) => sum + part.entry.shape[0], 0);
      const matrix = keepMatrix(this.gpu, rows, group[0].entry.shape[1], group[0].format);
      this.#matrices.push(matrix);
      if (group.length === 1) this.#trainMatrix(group[0].entry.name, matrix);
      return matrix;
    });
    const filled = groups.flatMap((group, i) => {
      let first = 0;
      return group.map(async (part) => {
        const at = first;
        first += part.entry.shape[0];
        await this.#fill(matrices[i], at, part.entry);
      });
    });
    await Promise.all(filled);
    return matrices;
  }

  /** Destroys everything that was loaded; what is still being read is dropped. */
  free(): void {
    this.#freed = true;
    for (const tensor of this.#tensors.splice(0)) this.gpu.free(tensor);
    for (const matrix of this.#matrices.splice(0)) freeMatrix(this.gpu, matrix);
  }

  /** What `tune` asked for, by name: tensors arrive in any order. */
  get trainables(): readonly Trainable[] {
    return [...this.#trainables].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #trainMatrix(name: string, { pieces, rows, columns }: Matrix): void {
    if (this.options.tune?.(name) && pieces.length > 1) {
      throw new GpuError(
        `${name}: a trained matrix must fit one storage binding, got [${rows}, ${columns}] f32; leave it frozen`,
      );
    }
    this.#train(name, pieces[0].tensor);
  }

  /** Gives a parameter that will be trained its gradient. */
  #train(name: string, value: Tensor): void {
    if (!this.options.tune?.(name)) return;
    const gradient = this.gpu.keep(value.shape, "f32");
    this.#tensors.push(gradient);
    this.#trainables.push({ name, value, gradient });
  }

  #entry(name: string): ParameterEntry {
    const entry = this.source.tensors.get(name);
    if (entry) return entry;
    throw new CheckpointError({
      file: this.source.name,
      field: tensorField(name),
      expected: "a tensor of that name",
      got: `none (file has ${this.source.tensors.size} tensors)`,
    });
  }

  #matrixEntry(name: string): { readonly entry: ParameterEntry; readonly format: WeightFormat } {
    const entry = this.#entry(name);
    const { dtype, shape } = entry;
    const wanted = this.options.tune?.(entry.name) ? "f32" : this.options.weights;
    const format = weightFormat(dtype, shape[1], wanted);
    if (format && shape.length === 2) return { entry, format };
    throw new CheckpointError({
      file: this.source.name,
      field: tensorField(name),
      expected: "a matrix of F32, BF16, F16 or of blocks",
      got: `${dtype} [${shape.join(", ")}]`,
    });
  }

  /** Streams a parameter into a matrix's rows from `first` on. */
  async #fill(matrix: Matrix, first: number, entry: ParameterEntry): Promise<void> {
    if (isCounting(this.gpu)) return;
    const { format, columns } = matrix;
    const { dtype, shape, byteLength } = entry;
    const start = first * columns;
    const count = elementCount(shape);
    const bytesPerValue = byteLength / count; // exact: a block has a power of two of values, and every piece begins at one
    const block = weightBlocks[format];
    const unit = valuesPerUnit(dtype, format);
    const step = Math.floor(Math.min(pieceValues, pieceBytes / bytesPerValue) / unit) * unit;
    const pieces: Promise<void>[] = [];
    for (let at = 0; at < count; at += step) {
      const length = Math.min(step, count - at) * bytesPerValue;
      const upload = (bytes: Uint8Array): void => {
        const { weights, scales } = convertPiece(bytes, dtype, format, this.source.name, entry.name);
        writeMatrix(this.gpu, matrix, weights, ((start + at) / block.columns) * block.bytes);
        if (scales) writeScales(this.gpu, matrix, scales, (start + at) / 16); // an f16 for each 32
      };
      pieces.push(this.#piece(entry, at * bytesPerValue, length, upload));
    }
    await Promise.all(pieces);
  }

  /** Reads a piece when a buffer is free and the device has granted what was asked for before the first, and hands it over. */
  async #piece(
    entry: ParameterEntry,
    at: number,
    length: number,
    upload: (bytes: Uint8Array) => void,
  ): Promise<void> {
    if (isCounting(this.gpu)) return;
    await this.#buffers.use(async (buffer) => {
      await (this.#granted ??= this.gpu.granted());
      if (this.#freed) return;
      this.options.signal?.throwIfAborted();
      const bytes = await this.source.read(entry, at, length, buffer);
      if (this.#freed) return;
      upload(bytes);
      this.#read += length;
      this.options.onProgress?.(this.#read);
    });
  }
}

/**
 * Buffers for reading, lent in the order of the asking. The same few again and again: the first touch of fresh memory costs more
 * than reading a file that the system has in memory.
 */
class ReadBuffers {
  readonly #free: Uint8Array<ArrayBuffer>[] = [];
  readonly #waiting: ((buffer: Uint8Array<ArrayBuffer>) => void)[] = [];
  #made = 0;
  #next = 0;

  constructor(
    private readonly count: number,
    private readonly bytes: number,
  ) {}

  async use(body: (buffer: Uint8Array<ArrayBuffer>) => Promise<void>): Promise<void> {
    const buffer = await this.#take();
    try {
      await body(buffer);
    } finally {
      this.#give(buffer);
    }
  }

  #take(): Promise<Uint8Array<ArrayBuffer>> {
    const free = this.#free.pop();
    if (free) return Promise.resolve(free);
    if (this.#made < this.count) {
      this.#made++;
      return Promise.resolve(new Uint8Array(this.bytes));
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #give(buffer: Uint8Array<ArrayBuffer>): void {
    if (this.#next < this.#waiting.length) this.#waiting[this.#next++](buffer);
    else this.#free.push(buffer);
  }
}
