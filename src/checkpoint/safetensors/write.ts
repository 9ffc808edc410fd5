import { DTYPE_BITS, isDtype } from "../../formats/dtypes.js";
import type { Dtype } from "../../formats/dtypes.js";
import { show } from "../../json.js";
import { elementCount } from "../../shape.js";
import { CheckpointError, tensorField } from "../../formats/errors.js";
import { MAX_HEADER_BYTES } from "./safetensors.js";

/** A tensor to write. A function is called when its turn comes, so that one tensor at a time, or a piece of one, need be in memory. */
export interface WriteTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Little-endian, row-major; whole, or in pieces one after another. */
  readonly data: Uint8Array | (() => Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array>);
}

const TARGET = "safetensors"; // what errors call a file that does not exist yet

/**
 * The bytes of a safetensors file, piece by piece: header (padded with spaces so that the data starts 8-byte aligned), then each tensor,
 * widest dtype first and then by name, as the reference writer orders them, so that every tensor is aligned to its element.
 * @throws CheckpointError  a name twice or reserved, a shape that is none, or data of another length than shape × dtype
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
    throw new CheckpointError({
      file: TARGET,
      field: tensorField(tensor.name),
      expected: `${expected} bytes`,
      got: `${written} bytes`,
    });
  }
}

async function* pieces(data: WriteTensor["data"]): AsyncGenerator<Uint8Array, void, undefined> {
  const made = typeof data === "function" ? await data() : data;
  if (made instanceof Uint8Array) yield made;
  else yield* made;
}

/** The whole file in one array, for small files and tests. */
export async function safetensorsBytes(
  tensors: readonly WriteTensor[],
  metadata?: ReadonlyMap<string, string>,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of writeSafetensors(tensors, metadata)) pieces.push(piece);
  const all = new Uint8Array(pieces.reduce((sum, p) => sum + p.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.byteLength;
  }
  return all;
}

function headerBytes(tensors: readonly WriteTensor[], metadata: ReadonlyMap<string, string>): Uint8Array {
  const entries: string[] = metadata.size ? [`"__metadata__":${jsonStrings(metadata)}`] : [];
  const names = new Set(["__metadata__"]);
  let begin = 0;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    if (names.has(name)) {
      throw new CheckpointError({
        file: TARGET,
        field: tensorField(name),
        expected: "a name used once",
        got: "it twice",
      });
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
    throw new CheckpointError({ file: TARGET, field: "header", expected, got: `${length} bytes` });
  }
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/** Bytes that shape and dtype ask for. */
function tensorBytes({ name, dtype, shape }: WriteTensor): number {
  const bytes = isDtype(dtype) ? (elementCount(shape) * DTYPE_BITS[dtype]) / 8 : NaN;
  if (shape.every((d) => Number.isSafeInteger(d) && d >= 0) && Number.isSafeInteger(bytes)) return bytes;
  const got = `${show(dtype)} ${show(shape)}`;
  throw new CheckpointError({
    file: TARGET,
    field: tensorField(name),
    expected: "whole bytes of a known dtype",
    got,
  });
}

/** A JSON object of strings, in the map's order (an object literal would move numeric keys and lose "__proto__"). */
function jsonStrings(map: ReadonlyMap<string, string>): string {
  return `{${[...map].map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(",")}}`;
}
