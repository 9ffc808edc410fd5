import type { GgmlType } from "../checkpoint/container.js";
import type { Dtype } from "../checkpoint/dtypes.js";
import { CheckpointError, tensorField } from "../checkpoint/errors.js";
import type { Gpu } from "../gpu/device.js";
import {
  type Matrix,
  type WeightFormat,
  freeMatrix,
  keepMatrix,
  weightBlocks,
  writeMatrix,
  writeScales,
} from "../gpu/matrix.js";
import { type Tensor, elementCount } from "../gpu/tensor.js";
import { convertPiece, storedToFloat32, valuesPerUnit, weightFormat } from "./weight-pieces.js";

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
  read(entry: ParameterEntry, byteOffset: number, byteLength: number): Promise<Uint8Array>;
}

export interface LoadOptions {
  /** Storage of the weight matrices. Default: as they are in the file (see weightFormat). Norms, biases and FSMN taps are always f32. */
  readonly weights?: WeightFormat;
  /** Called after each piece with the bytes of the files read so far. */
  readonly onProgress?: (bytesRead: number) => void;
}

/** Values converted at a time: 16 MB as f32. */
const pieceValues = 4 << 20;

/** Puts parameters on the GPU by name and remembers them, so that all are freed together. */
export class ParameterLoader {
  readonly #tensors: Tensor[] = [];
  readonly #matrices: Matrix[] = [];
  #read = 0;

  constructor(
    readonly gpu: Gpu,
    private readonly source: ParameterSource,
    private readonly options: LoadOptions = {},
  ) {}

  /** Norm weight, bias or FSMN taps, as f32 in their own shape. @throws CheckpointError  it is missing */
  async vector(name: string): Promise<Tensor> {
    const entry = this.#entry(name);
    const bytes = await this.#readPiece(entry, 0, entry.byteLength);
    const tensor = this.gpu.keep(entry.shape, "f32");
    this.#tensors.push(tensor);
    this.gpu.write(
      tensor,
      storedToFloat32(bytes, entry.dtype, this.source.name) as Float32Array<ArrayBuffer>,
    );
    return tensor;
  }

  /** A weight matrix, streamed in pieces. @throws CheckpointError  it is missing or no matrix of floats */
  async matrix(name: string): Promise<Matrix> {
    const [matrix] = await this.stacked([name]);
    return matrix;
  }

  /**
   * Weight matrices of one width, one below the other: a product with them all is one with a single matrix.
   * @returns  one matrix, or each by itself where they are not all stored alike (as in GGUF files of mixed types)
   * @throws CheckpointError  one is missing or no matrix of floats
   */
  async stacked(names: readonly string[]): Promise<readonly Matrix[]> {
    const parts = names.map((name) => this.#matrixEntry(name));
    const [{ entry, format }] = parts;
    const alike = parts.every((part) => part.format === format && part.entry.shape[1] === entry.shape[1]);
    const matrices: Matrix[] = [];
    for (const group of alike ? [parts] : parts.map((part) => [part])) {
      const rows = group.reduce((sum, part) => sum + part.entry.shape[0], 0);
      const matrix = keepMatrix(this.gpu, rows, group[0].entry.shape[1], group[0].format);
      this.#matrices.push(matrix);
      matrices.push(matrix);
      let first = 0;
      for (const part of group) {
        await this.#fill(matrix, first, part.entry);
        first += part.entry.shape[0];
      }
    }
    return matrices;
  }

  /** Destroys everything that was loaded. */
  free(): void {
    for (const tensor of this.#tensors.splice(0)) this.gpu.free(tensor);
    for (const matrix of this.#matrices.splice(0)) freeMatrix(this.gpu, matrix);
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
    const format = weightFormat(dtype, shape[1], this.options.weights);
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
    const { format, columns } = matrix;
    const { dtype, shape, byteLength } = entry;
    const start = first * columns;
    const count = elementCount(shape);
    const bytesPerValue = byteLength / count; // exact: a block has a power of two of values, and every piece begins at one
    const block = weightBlocks[format];
    const unit = valuesPerUnit(dtype, format);
    const step = Math.floor(pieceValues / unit) * unit;
    const read = (at: number): Promise<Uint8Array> =>
      this.#readPiece(entry, at * bytesPerValue, Math.min(step, count - at) * bytesPerValue);
    let ahead = read(0); // the next piece is read while this one is converted and uploaded
    for (let at = 0; at < count; at += step) {
      const bytes = await ahead;
      if (at + step < count) ahead = read(at + step);
      ahead.catch(() => undefined); // met at its turn, unless the piece before fails
      const { weights, scales } = convertPiece(bytes, dtype, format, this.source.name);
      writeMatrix(this.gpu, matrix, weights, ((start + at) / block.columns) * block.bytes);
      if (scales) writeScales(this.gpu, matrix, scales, (start + at) / 16); // an f16 for each 32
    }
  }

  async #readPiece(entry: ParameterEntry, at: number, length: number): Promise<Uint8Array> {
    const bytes = await this.source.read(entry, at, length);
    this.#read += length;
    this.options.onProgress?.(this.#read);
    return bytes;
  }
}
