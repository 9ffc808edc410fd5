import { createHash } from "node:crypto";
import { type SafetensorsFile, openSafetensors, readTensor } from "../checkpoint/safetensors/safetensors.js";
import { type WriteTensor, writeSafetensors } from "../checkpoint/safetensors/write.js";
import type { ByteSource } from "../checkpoint/source.js";
import { FileError, errorCode } from "../errors.js";
import { openFile } from "../node/files.js";
import { TrainFileError } from "./errors.js";

/** A saved state that is missing or not as it was written: an earlier one may be whole. */
export class DamagedStateError extends TrainFileError {}

/** Name of the last tensor, of type U8: SHA-256 of all bytes of the file before it. */
const seal = "sha256";
const sealBytes = 32;
const piece = 2 ** 24;

/**
 * The bytes of a safetensors file whose last 32 are the SHA-256 of all before them, as tensor
 * `sha256`.
 */
export async function* sealedPieces(
  tensors: readonly WriteTensor[],
  metadata: ReadonlyMap<string, string>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash("sha256");
  const last: WriteTensor = { name: seal, dtype: "U8", shape: [sealBytes], data: () => hash.copy().digest() };
  for await (const bytes of writeSafetensors([...tensors, last], metadata)) {
    hash.update(bytes);
    yield bytes;
  }
}

/**
 * Opens a saved state and runs `use` on it, once its hash is found to be right. A file of an
 * earlier version has no hash.
 * @param unsealed  formats that have no hash
 * @throws DamagedStateError  the file is missing, is no safetensors file, or has other bytes than
 *   were written
 */
export async function withSealedFile<T>(
  path: string,
  unsealed: readonly string[],
  use: (file: SafetensorsFile) => Promise<T>,
): Promise<T> {
  let source: ByteSource | undefined;
  try {
    let file: SafetensorsFile;
    try {
      source = await openFile(path);
      file = await openSafetensors(source);
    } catch (error) {
      throw damaged(path, error);
    }
    const sealed = file.tensors.has(seal) || !unsealed.includes(file.metadata.get("format") ?? "");
    if (sealed) await checkSeal(path, file);
    return await use(file);
  } finally {
    await source?.close();
  }
}

function damaged(path: string, cause: unknown): unknown {
  if (errorCode(cause) === "ENOENT")
    return new DamagedStateError(
      { file: path, field: "file", expected: "a saved state", got: "none" },
      { cause },
    );
  if (!(cause instanceof FileError)) return cause;
  const { field, expected, got } = cause;
  return new DamagedStateError({ file: path, field, expected, got }, { cause });
}

async function checkSeal(path: string, file: SafetensorsFile): Promise<void> {
  const { source, tensors } = file;
  const found = tensors.get(seal);
  const end = source.size - sealBytes;
  if (found?.dtype !== "U8" || found.byteLength !== sealBytes || found.offset !== end) {
    const expected = `tensor ${seal} as its last ${sealBytes} bytes`;
    throw new DamagedStateError({ file: path, field: seal, expected, got: found ? "another" : "none" });
  }
  const hash = createHash("sha256");
  for (let at = 0; at < end; at += piece) hash.update(await source.read(at, Math.min(piece, end - at)));
  const got = hash.digest("hex");
  const expected = Buffer.from(await readTensor(file, seal)).toString("hex");
  if (got !== expected) {
    const short = (hex: string): string => `${hex.slice(0, 12)}…`;
    throw new DamagedStateError({ file: path, field: seal, expected: short(expected), got: short(got) });
  }
}

export function withAdvice(error: DamagedStateError, advice: string): DamagedStateError {
  const { file, field, expected, got } = error;
  return new DamagedStateError({ file, field, expected, got, advice }, { cause: error });
}

/** The error where neither of two states is whole. */
export function noneWhole(first: DamagedStateError, second: DamagedStateError): DamagedStateError {
  const missing = errorCode(second) === "ENOENT";
  const other = missing ? "there is no other state" : `${second.file} is damaged too`;
  return withAdvice(first, `${other}; begin a new run in another --out`);
}
