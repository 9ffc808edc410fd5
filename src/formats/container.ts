import type { Dtype } from "./dtypes.js";

/** A quantised block type, spelled as in GGUF. */
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

/** One tensor in a file. */
export interface StoredTensor {
  /** Name in the file. */
  readonly name: string;
  /** Name of its file in the directory. */
  readonly file: string;
  readonly dtype: Dtype | GgmlType;
  /** Row-major, outermost first. */
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** The published layouts of a checkpoint. */
export type Layout = "transformers" | "funasr" | "gguf" | "mlx";

/** The open weight files of one checkpoint: a table of tensors, whose bytes are read on demand. */
export interface Container {
  /** Its name in error messages. */
  readonly name: string;
  readonly layout: Layout;
  /** By the name in the file. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The files' metadata as text. */
  readonly metadata: ReadonlyMap<string, string>;
  /**
   * Little-endian bytes [byteOffset, byteOffset + byteLength) of one tensor.
   * @param into  see ByteSource.read
   * @throws CheckpointError  the range is not inside the tensor
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
