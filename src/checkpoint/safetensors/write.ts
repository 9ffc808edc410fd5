import { DTYPE_BITS, isDtype } from "../../formats/dtypes.js";
import type { Dtype } from "../../formats/dtypes.js";
import { show } from "../../json.js";
import { elementCount } from "../../shape.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import { MAX_HEADER_BYTES } from "./safetensors.js";

/** A tensor to write. */
export interface WriteTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Little-endian, row-major. A function is called when its tensor is written. */
  readonly data: Uint8Array | (() => Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array>);
}

const TARGET = "safetensors"; // errors name the format: the file does not exist yet

/**
 * The bytes of a safetensors file, piece by piece. The header is padded with spaces to 8 bytes.
 * Tensors follow, widest dtype first and then by name, as the reference writer orders them, so that
 * every tensor is aligned to its element.
 * @throws CheckpointError  a name that occurs twice or is reserved, an invalid shape, or data that
 *   is not shape × dtype bytes
 */
export async function* writeSafetensors(
  tensors: readonly WriteTensor[],
  metadata: ReadonlyMap<string, string> = new Map(),
): AsyncGenerator<Uint8Array, void, undefined> {
  const ordered = [...tensors].sort(
    (a, b) => DTYPE_BITS[b.dtype] - DTYPE_BITS[a.dtype] || (a.name < b.name ? -1 : 1),
  );
  yield headerBytes(ordered, metadata);
  for (const tensor of ordered) {
    const expected = tensorBytes(tensor);
    let written = 0;
    for await (const piece of pieces(tensor.data)) {
      written += piece.byteLength;
      if (written > expected) break;
      yield piece;
    }
    if (written === expected) continue;
    throw checkpointError(TARGET, tensorField(tensor.name), `${expected} bytes`, `${written} bytes`);
  }
}

async function* pieces(data: WriteTensor["data"]): AsyncGenerator<Uint8Array, void, undefined> {
  const bytes = typeof data === "function" ? await data() : data;
  if (bytes instanceof Uint8Array) yield bytes;
  else yield* bytes;
}

/** A safetensors file as one array, for small files and tests. */
export async function safetensorsBytes(
  tensors: readonly WriteTensor[],
  metadata?: ReadonlyMap<string, string>,
): Promise<Uint8Array> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of writeSafetensors(tensors, metadata)) pieces.push(piece.slice());
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

function headerBytes(tensors: readonly WriteTensor[], metadata: ReadonlyMap<string, string>): Uint8Array {
  const entries: string[] = metadata.size ? [`"__metadata__":${jsonStrings(metadata)}`] : [];
  const names = new Set(["__metadata__"]);
  let begin = 0;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    if (names.has(name)) {
      throw checkpointError(TARGET, tensorField(name), "a name used once", "it twice");
    }
    names.add(name);
    const end = begin + tensorBytes(tensor);
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.byteLength / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    const expected = `at most ${MAX_HEADER_BYTES} bytes`;
    throw checkpointError(TARGET, "header", expected, `${length} bytes`);
  }
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/**
 * Bytes of a tensor's shape and dtype.
 * @throws CheckpointError  not a whole number, or an unknown dtype
 */
export function tensorBytes({ name, dtype, shape }: WriteTensor): number {
  const bytes = isDtype(dtype) ? (elementCount(shape) * DTYPE_BITS[dtype]) / 8 : NaN;
  if (shape.every((d) => Number.isSafeInteger(d) && d >= 0) && Number.isSafeInteger(bytes)) return bytes;
  const got = `${show(dtype)} ${show(shape)}`;
  throw checkpointError(TARGET, tensorField(name), "whole bytes of a known dtype", got);
}

/** A JSON object of strings. An object literal would move numeric keys and lose "__proto__". */
function jsonStrings(map: ReadonlyMap<string, string>): string {
  return `{${[...map].map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(",")}}`;
}
