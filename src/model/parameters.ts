import type { GgmlType } from "../checkpoint/container.js";
import type { Dtype } from "../checkpoint/dtypes.js";
import { CheckpointError, tensorField } from "../checkpoint/errors.js";
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
  /** Parameters that will be trained: f32 whatever `weights` says, each with a gradient. */
  readonly tune?: (name: string) => boolean;
  /** Called after each piece with the bytes of the files read so far. */
  readonly onProgress?: (bytesRead: number) => void;
}

/** Values converted at a time: 16 MB as f32. */
const pieceValues = 4 << 20;

/** Puts parameters on the GPU by name and remembers them, so that all are freed together. */
export class ParameterLoader {
  readonly #tensors: Tensor[] = [];
  readonly #matrices: Matrix[] = [];
  /** What `tune` asked for, in the order of loading. */
  readonly trainables: Trainable[] = [];
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
    this.#train(name, tensor);
    return tensor;
  }

  /** A weight matrix, streamed in pieces. @throws CheckpointError  it is missing or no matrix of floats */
  async matrix(name: string): Promise<Matrix> {
    const entry = this.#entry(name);
    const { dtype, shape, byteLength } = entry;
    const [rows, columns] = shape;
    const wanted = this.options.tune?.(name) ? "f32" : this.options.weights;
    const format = weightFormat(dtype, columns, wanted);
    if (!format || shape.length !== 2) {
      throw new CheckpointError({
        file: this.source.name,
        field: tensorField(name),
        expected: "a matrix of F32, BF16, F16 or of blocks",
        got: `${dtype} [${shape.join(", ")}]`,
      });
    }
    const matrix = keepMatrix(this.gpu, rows, columns, format);
    this.#matrices.push(matrix);
    if (this.options.tune?.(name) && matrix.pieces.length > 1) {
      throw new GpuError(
        `${name}: a trained matrix must fit one storage binding, got [${shape.join(", ")}] f32; leave it frozen`,
      );
    }
    this.#train(name, matrix.pieces[0].tensor);
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
      writeMatrix(this.gpu, matrix, weights, (at / block.columns) * block.bytes);
      if (scales) writeScales(this.gpu, matrix, scales, at / 16); // an f16 for each 32
    }
    return matrix;
  }

  /** Destroys everything that was loaded. */
  free(): void {
    for (const tensor of this.#tensors.splice(0)) this.gpu.free(tensor);
    for (const matrix of this.#matrices.splice(0)) freeMatrix(this.gpu, matrix);
  }

  /** Gives a parameter that will be trained its gradient. */
  #train(name: string, value: Tensor): void {
    if (!this.options.tune?.(name)) return;
    const gradient = this.gpu.keep(value.shape, "f32");
    this.#tensors.push(gradient);
    this.trainables.push({ name, value, gradient });
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

  async #readPiece(entry: ParameterEntry, at: number, length: number): Promise<Uint8Array> {
    const bytes = await this.source.read(entry, at, length);
    this.#read += length;
    this.options.onProgress?.(this.#read);
    return bytes;
  }
}
