import type { GgmlType } from "../formats/container.js";
import type { Dtype } from "../formats/dtypes.js";
import { storedToFloat32 } from "../formats/ggml-blocks.js";
import { checkpointError, tensorField } from "../formats/errors.js";
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
import { convertPiece, valuesPerUnit, weightFormat } from "./pieces.js";

export type { WeightFormat } from "../gpu/matrix.js";

/** One stored parameter. */
export interface ParameterEntry {
  readonly name: string;
  readonly dtype: Dtype | GgmlType;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** A source of parameters: an open checkpoint, a golden bundle, a generator. */
export interface ParameterSource {
  /** Its name in errors. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, ParameterEntry>;
  /** @param into  see ByteSource.read */
  read(
    entry: ParameterEntry,
    byteOffset: number,
    byteLength: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array>;
}

export interface LoadOptions {
  /** Format of the matrices. Default: as stored (see weightFormat). Other parameters are f32. */
  readonly weights?: WeightFormat;
  /** True for parameters to train. They are f32, whatever `weights` says, and have a gradient. */
  readonly tune?: (name: string) => boolean;
  /** The work that memory is checked for before anything is read. Default: only the weights. */
  readonly use?: MemoryUse | undefined;
  /** Called after each piece with the bytes read so far. */
  readonly onProgress?: (bytesRead: number) => void;
  /** Stops before the next read, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Awaits every property of an object; all run at once. */
export async function all<T extends object>(parts: T): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  const entries = Object.entries(parts).map(async ([key, value]) => [key, (await value) as unknown] as const);
  return Object.fromEntries(await Promise.all(entries)) as { [K in keyof T]: Awaited<T[K]> };
}

/** Bytes of one read: few enough to stay in a core's cache until the upload. */
const pieceBytes = 1 << 20;
/** Most values of one conversion: 4 MB as f32. */
const pieceValues = 1 << 20;
/** Concurrent reads. */
const readers = 4;

/** Loads parameters to the GPU by name. On a counting device it reads nothing. */
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

  /**
   * Norm weight, bias or FSMN taps as f32, in the stored shape.
   * @throws CheckpointError  missing
   */
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

  /**
   * A weight matrix, streamed in pieces.
   * @throws CheckpointError  missing, or not a matrix of floats
   */
  async matrix(name: string): Promise<Matrix> {
    const [matrix] = await this.stacked([name]);
    return matrix;
  }

  /**
   * Weight matrices of one width, stacked by rows, so that one product computes all of them.
   * @returns  one matrix; or one each if their formats differ (GGUF files of mixed types), or in
   *           training, because ops that read several at once have no gradient
   * @throws CheckpointError  one is missing, or not a matrix of floats
   */
  async stacked(names: readonly string[]): Promise<readonly Matrix[]> {
    const parts = names.map((name) => this.#matrixEntry(name));
    const [{ entry, format }] = parts;
    const alike =
      !this.options.tune &&
      parts.every((part) => part.format === format && part.entry.shape[1] === entry.shape[1]);
    // All are allocated before the first wait: a matrix allocated after a failure elsewhere would
    // never be freed.
    const groups = alike ? [parts] : parts.map((part) => [part]);
    const matrices = groups.map((group) => {
      const rows = group.reduce((sum, part) => sum + part.entry.shape[0], 0);
      const matrix = keepMatrix(this.gpu, rows, group[0].entry.shape[1], group[0].format);
      this.#matrices.push(matrix);
      if (group.length === 1) this.#trainMatrix(group[0].entry.name, matrix);
      return matrix;
    });
    const filled = groups.flatMap((group, i) => {
      let end = 0;
      return group.map((part) => {
        const first = end;
        end += part.entry.shape[0];
        return this.#fill(matrices[i], first, part.entry);
      });
    });
    await Promise.all(filled);
    return matrices;
  }

  /** Destroys everything that was loaded; pending reads are dropped. */
  free(): void {
    this.#freed = true;
    for (const tensor of this.#tensors.splice(0)) this.gpu.free(tensor);
    for (const matrix of this.#matrices.splice(0)) freeMatrix(this.gpu, matrix);
  }

  /** The parameters that `tune` selects, sorted by name because they load in any order. */
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

  /** Allocates the gradient of a trained parameter. */
  #train(name: string, value: Tensor): void {
    if (!this.options.tune?.(name)) return;
    const gradient = this.gpu.keep(value.shape, "f32");
    this.#tensors.push(gradient);
    this.#trainables.push({ name, value, gradient });
  }

  #entry(name: string): ParameterEntry {
    const entry = this.source.tensors.get(name);
    if (entry) return entry;
    throw checkpointError(
      this.source.name,
      tensorField(name),
      "a tensor of that name",
      `none (file has ${this.source.tensors.size} tensors)`,
    );
  }

  #matrixEntry(name: string): { readonly entry: ParameterEntry; readonly format: WeightFormat } {
    const entry = this.#entry(name);
    const { dtype, shape } = entry;
    const wanted = this.options.tune?.(entry.name) ? "f32" : this.options.weights;
    const format = weightFormat(dtype, shape[1], wanted);
    if (format && shape.length === 2) return { entry, format };
    throw checkpointError(
      this.source.name,
      tensorField(name),
      "a matrix of F32, BF16, F16 or of blocks",
      `${dtype} [${shape.join(", ")}]`,
    );
  }

  /** Streams a parameter to the matrix's rows from `first` on. */
  async #fill(matrix: Matrix, first: number, entry: ParameterEntry): Promise<void> {
    if (isCounting(this.gpu)) return;
    const { format, columns } = matrix;
    const { dtype, shape, byteLength } = entry;
    const start = first * columns;
    const count = elementCount(shape);
    const bytesPerValue = byteLength / count; // exact: blocks have a power of two values, pieces whole blocks
    const block = weightBlocks[format];
    const unit = valuesPerUnit(dtype, format);
    const step = Math.floor(Math.min(pieceValues, pieceBytes / bytesPerValue) / unit) * unit;
    const pieces: Promise<void>[] = [];
    for (let at = 0; at < count; at += step) {
      const length = Math.min(step, count - at) * bytesPerValue;
      const upload = (bytes: Uint8Array): void => {
        const { weights, scales } = convertPiece(bytes, dtype, format, this.source.name, entry.name);
        writeMatrix(this.gpu, matrix, weights, ((start + at) / block.columns) * block.bytes);
        if (scales) writeScales(this.gpu, matrix, scales, (start + at) / 16); // one f16 for 32 values
      };
      pieces.push(this.#piece(entry, at * bytesPerValue, length, upload));
    }
    await Promise.all(pieces);
  }

  /** Reads and uploads a piece, once a buffer is free and the allocations are granted. */
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

/** A few read buffers, reused because the first touch of fresh memory is slow. */
class ReadBuffers {
  readonly #free: Uint8Array<ArrayBuffer>[] = [];
  readonly #waiting: ((buffer: Uint8Array<ArrayBuffer>) => void)[] = [];
  #allocated = 0;
  #next = 0;

  constructor(
    private readonly count: number,
    private readonly bytes: number,
  ) {}

  async use(body: (buffer: Uint8Array<ArrayBuffer>) => Promise<void>): Promise<void> {
    if (this.#free.length === 0 && this.#allocated < this.count) {
      this.#allocated++;
      this.#free.push(new Uint8Array(this.bytes));
    }
    // always awaited: the caller allocates all its matrices before the first body runs
    const buffer = await (this.#free.pop() ??
      new Promise<Uint8Array<ArrayBuffer>>((resolve) => this.#waiting.push(resolve)));
    try {
      await body(buffer);
    } finally {
      if (this.#next < this.#waiting.length) this.#waiting[this.#next++](buffer);
      else this.#free.push(buffer);
    }
  }
}
