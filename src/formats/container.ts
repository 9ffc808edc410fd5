import type { Dtype } from "./dtypes.js";

/** A quantised block type of GGUF, spelled as there. (Its F32, F16 and BF16 are the safetensors dtypes of that name.) */
export type GgmlType = "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1" | "Q8_0" | "Q4_K" | "Q5_K" | "Q6_K";

/** Values and bytes of one block. @source ggml `ggml-common.h`, `block_q4_0` and so on */
export const GGML_BLOCKS: Readonly<Record<GgmlType, { readonly values: number; readonly bytes: number }>> = {
  Q4_0: { values: 32, bytes: 18 },
  Q4_1: { values: 32, bytes: 20 },
  Q5_0: { values: 32, bytes: 22 },
  Q5_1: { values: 32, bytes: 24 },
  Q8_0: { values: 32, bytes: 34 },
  Q4_K: { values: 256, bytes: 144 },
  Q5_K: { values: 256, bytes: 176 },
  Q6_K: { values: 256, bytes: 210 },
};

export function isGgmlType(dtype: Dtype | GgmlType): dtype is GgmlType {
  return Object.hasOwn(GGML_BLOCKS, dtype);
}

/** One tensor as it lies in a file. */
export interface StoredTensor {
  /** Name in the file. */
  readonly name: string;
  /** File that holds it, as named in the directory. */
  readonly file: string;
  readonly dtype: Dtype | GgmlType;
  /** Row-major, outermost first. */
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** The published layouts of a checkpoint. */
export type Layout = "transformers" | "funasr" | "gguf" | "mlx";

/** The weight files of one checkpoint, open: a table of tensors, and their bytes when asked for. */
export interface Container {
  /** What error messages call it. */
  readonly name: string;
  readonly layout: Layout;
  /** By the name in the file. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** What the files say of themselves, as text. */
  readonly metadata: ReadonlyMap<string, string>;
  /**
   * Little-endian bytes [byteOffset, byteOffset + byteLength) of one tensor.
   * @param into  as ByteSource.read
   * @throws CheckpointError outside it
   */
  read(
    tensor: StoredTensor,
    byteOffset: number,
    byteLength: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array>;
  /** Releases the files. */
  close(): Promise<void>;
}
