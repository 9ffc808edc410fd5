import { type Dtype, fromFloat32, toFloat32 } from "../checkpoint/dtypes.js";
import { CheckpointError, tensorField } from "../checkpoint/errors.js";
import type { Gpu } from "../gpu/device.js";
import { type Matrix, freeMatrix, keepMatrix, writeMatrix } from "../gpu/matrix.js";
import { type Tensor, bytesPerElement, elementCount } from "../gpu/tensor.js";

/** One stored parameter. */
export interface ParameterEntry {
  readonly name: string;
  readonly dtype: Dtype;
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

/** Storage types that a weight matrix can have on the GPU. */
export type WeightFormat = "f32" | "bf16" | "f16";

export interface LoadOptions {
  /** Storage of the weight matrices. Default: as they are in the file. Norms, biases and FSMN taps are always f32. */
  readonly weights?: WeightFormat;
  /** Called after each piece with the bytes of the files read so far. */
  readonly onProgress?: (bytesRead: number) => void;
}

const pieceBytes = 8 << 20;
const stored: Partial<Record<Dtype, WeightFormat>> = { F32: "f32", BF16: "bf16", F16: "f16" };
const dtypeOf = { f32: "F32", bf16: "BF16", f16: "F16" } as const;

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
    this.gpu.write(tensor, toFloat32(bytes, entry.dtype, this.source.name) as Float32Array<ArrayBuffer>);
    return tensor;
  }

  /** A weight matrix, streamed in pieces. @throws CheckpointError  it is missing or no matrix of floats */
  async matrix(name: string): Promise<Matrix> {
    const entry = this.#entry(name);
    const format = this.options.weights ?? stored[entry.dtype];
    if (!format || entry.shape.length !== 2) {
      throw new CheckpointError({
        file: this.source.name,
        field: tensorField(name),
        expected: "a matrix of F32, BF16 or F16",
        got: `${entry.dtype} [${entry.shape.join(", ")}]`,
      });
    }
    const matrix = keepMatrix(this.gpu, entry.shape[0], entry.shape[1], format);
    this.#matrices.push(matrix);
    const from = entry.byteLength / elementCount(entry.shape);
    for (let at = 0; at < entry.byteLength; at += pieceBytes) {
      const bytes = await this.#readPiece(entry, at, Math.min(pieceBytes, entry.byteLength - at));
      const converted = convert(bytes, entry.dtype, format);
      writeMatrix(this.gpu, matrix, converted, (at / from) * bytesPerElement[format]);
    }
    return matrix;
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

  async #readPiece(entry: ParameterEntry, at: number, length: number): Promise<Uint8Array> {
    const bytes = await this.source.read(entry, at, length);
    this.#read += length;
    this.options.onProgress?.(this.#read);
    return bytes;
  }
}

/** Bytes of one storage type as another; a multiple of 4 bytes, over memory of their own. */
function convert(bytes: Uint8Array, from: Dtype, to: WeightFormat): Uint8Array<ArrayBuffer> {
  const same = dtypeOf[to] === from;
  const result = same ? bytes : fromFloat32(toFloat32(bytes, from), dtypeOf[to]);
  const shared = typeof SharedArrayBuffer !== "undefined" && result.buffer instanceof SharedArrayBuffer;
  if (result.byteLength % 4 === 0 && !shared) return result as Uint8Array<ArrayBuffer>;
  const padded = new Uint8Array(Math.ceil(result.byteLength / 4) * 4);
  padded.set(result);
  return padded;
}
