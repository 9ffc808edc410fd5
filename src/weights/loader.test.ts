import { expect, test } from "vitest";
import { lowerLimits, useGpu } from "../../test/gpu.js";
import { ggufFixture } from "../../test/helpers/gguf.js";
import { half, normals } from "../../test/helpers/quantized.js";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { GGML_BLOCKS, type GgmlType, isGgmlType } from "../formats/container.js";
import { type Dtype, fromFloat32 } from "../formats/dtypes.js";
import { storedToFloat32 } from "../formats/ggml-blocks.js";
import { quantizeQ4, quantizeQ8 } from "../formats/quantize.js";
import { memoryFiles } from "../checkpoint/source.js";
import type { Gpu } from "../gpu/device.js";
import type { Matrix } from "../gpu/matrix.js";
import type { Tensor } from "../gpu/tensor.js";
import { ParameterLoader, type ParameterSource, type WeightFormat } from "./loader.js";
import { weightFormat } from "./pieces.js";

const gpu = useGpu();

/** The bytes of tensors, concatenated. */
async function bytesOf(device: Gpu, tensors: readonly Tensor[]): Promise<Buffer> {
  const parts: Promise<{ buffer: ArrayBufferLike }>[] = [];
  await device.step(() => {
    for (const tensor of tensors) parts.push(device.read(tensor));
    return [];
  });
  return Buffer.concat((await Promise.all(parts)).map((part) => new Uint8Array(part.buffer)));
}

async function stored(device: Gpu, { pieces }: Matrix): Promise<{ weights: Buffer; scales: Buffer }> {
  const scales = pieces.flatMap((piece) => piece.scales ?? []);
  return {
    weights: await bytesOf(
      device,
      pieces.map((p) => p.tensor),
    ),
    scales: await bytesOf(device, scales),
  };
}

/** The expected bytes of a matrix, from one conversion of the whole tensor. */
function expected(
  bytes: Uint8Array,
  dtype: Dtype | GgmlType,
  format: WeightFormat,
): { weights: Buffer; scales: Buffer } {
  const none = Buffer.alloc(0);
  const as = (data: ArrayBufferView): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (dtype === "Q8_0" && format === "q8") {
    const blocks = Array.from({ length: bytes.length / 34 }, (_, i) => bytes.subarray(34 * i, 34 * i + 34));
    return {
      weights: Buffer.concat(blocks.map((b) => b.subarray(2))),
      scales: Buffer.concat(blocks.map((b) => b.subarray(0, 2))),
    };
  }
  if ((dtype === "Q4_0" || dtype === "Q5_0") && format === "q8") {
    const size = GGML_BLOCKS[dtype].bytes;
    const starts = Array.from({ length: bytes.length / size }, (_, i) => i * size);
    const scales = starts.map((i) => half(bytes[i] | (bytes[i + 1] << 8)));
    const quants = storedToFloat32(bytes, dtype, "x").map((value, i) => value / scales[i >> 5]);
    return {
      weights: as(Int8Array.from(quants)),
      scales: Buffer.concat(starts.map((i) => bytes.subarray(i, i + 2))),
    };
  }
  if (dtype === "Q4_K" && format === "q4") return { weights: as(bytes), scales: none };
  const values = storedToFloat32(bytes, dtype, "x");
  if (format === "q4") return { weights: as(quantizeQ4(values)), scales: none };
  const dtypes = { f32: "F32", bf16: "BF16", f16: "F16" } as const;
  if (format !== "q8") return { weights: as(fromFloat32(values, dtypes[format])), scales: none };
  const { quants, scales } = quantizeQ8(values);
  return { weights: as(quants), scales: as(scales) };
}

function quantisedPair(): Promise<Checkpoint> {
  const names = ["funasr-encoder-q8_0.gguf", "qwen3-tiny-q4km.gguf"];
  return openCheckpoint(memoryFiles("q", new Map(names.map((n) => [n, ggufFixture(n)]))));
}

// Plan: every matrix of a quantised pair in every format, against one conversion of the whole
// tensor. Vectors are f32. The default formats, and the formats of rows that are not whole blocks.
test.each<[WeightFormat | undefined]>([[undefined], ["f32"], ["bf16"], ["f16"], ["q8"], ["q4"]])(
  "a GGUF pair as %s",
  async (weights) => {
    const checkpoint = await quantisedPair();
    const read: number[] = [];
    const load = new ParameterLoader(gpu(), checkpoint, { weights, onProgress: (bytes) => read.push(bytes) });
    const formats = new Map<string, string>();
    for (const entry of checkpoint.tensors.values()) {
      const bytes = await checkpoint.read(entry, 0, entry.byteLength);
      if (entry.shape.length !== 2) {
        const vector = await bytesOf(gpu(), [await load.vector(entry.name)]);
        expect(vector.equals(Buffer.from(bytes))).toBe(true); // all are F32 in the files
        continue;
      }
      const matrix = await load.matrix(entry.name);
      expect(matrix.format).toBe(weightFormat(entry.dtype, entry.shape[1], weights));
      formats.set(`${entry.dtype} [${entry.shape[1]}]`, matrix.format);
      const want = expected(bytes, entry.dtype, matrix.format);
      const got = await stored(gpu(), matrix);
      expect(got.weights.equals(want.weights) && got.scales.equals(want.scales), entry.name).toBe(true);
    }
    expect(read.at(-1)).toBe(checkpoint.totalBytes);
    const all = (format: string, exceptions: Record<string, string> = {}): Record<string, string> => ({
      "F32 [8]": format,
      "Q8_0 [32]": format,
      "Q8_0 [64]": format,
      "Q4_K [256]": format,
      "Q5_K [256]": format,
      "Q6_K [256]": format,
      ...exceptions,
    });
    const table: Record<string, Record<string, string>> = {
      f32: all("f32"),
      bf16: all("bf16"),
      f16: all("f16"),
      q8: all("q8", { "F32 [8]": "bf16" }),
      q4: all("q4", { "F32 [8]": "bf16", "Q8_0 [32]": "q8", "Q8_0 [64]": "q8" }),
      stored: all("q8", { "F32 [8]": "f32", "Q4_K [256]": "q4" }),
    };
    expect(Object.fromEntries(formats)).toEqual(table[weights ?? "stored"]);
    load.free();
    expect(gpu().bytes.kept).toBe(0);
  },
);

/** One matrix in memory. */
function oneMatrix(
  dtype: Dtype | GgmlType,
  rows: number,
  columns: number,
  bytes: Uint8Array,
): ParameterSource & { reads: number[] } {
  const reads: number[] = [];
  return {
    name: "one",
    reads,
    tensors: new Map([["w", { name: "w", dtype, shape: [rows, columns], byteLength: bytes.byteLength }]]),
    read: (_, at, length) => {
      reads.push(length);
      return Promise.resolve(bytes.slice(at, at + length));
    },
  };
}

// Plan: matrices of several conversions and several bindings, with a prime number of rows. Pieces
// begin at blocks, also in the middle of a row, and arrive at the right offset.
test.each<[Dtype | GgmlType, WeightFormat]>([
  ["Q8_0", "q8"],
  ["Q8_0", "bf16"],
  ["Q4_K", "q4"],
  ["Q5_K", "bf16"],
  ["Q6_K", "q8"],
  ["Q4_0", "q8"],
  ["Q4_0", "q4"],
  ["Q5_0", "q8"],
  ["Q4_1", "q8"],
  ["Q5_1", "f16"],
  ["F32", "q8"],
  ["BF16", "q4"],
  ["BF16", "bf16"],
])("%s to %s in pieces", async (dtype, format) => {
  lowerLimits(gpu(), { maxStorageBufferBindingSize: 2 << 20, maxBufferSize: 2 << 20 });
  const [rows, columns] = [3671, 1280];
  const values = isGgmlType(dtype) ? undefined : normals(rows * columns, 4);
  const bytes = values
    ? fromFloat32(values, dtype as "F32")
    : randomBlocks(dtype as GgmlType, (rows * columns) / GGML_BLOCKS[dtype as GgmlType].values);
  const source = oneMatrix(dtype, rows, columns, bytes);
  const load = new ParameterLoader(gpu(), source, { weights: format });
  const matrix = await load.matrix("w");
  expect(source.reads.length).toBeGreaterThan(1);
  expect(matrix.pieces.length).toBeGreaterThan(1);
  const got = await stored(gpu(), matrix);
  const want = expected(bytes, dtype, format);
  expect([got.weights.equals(want.weights), got.scales.equals(want.scales)]).toEqual([true, true]);
  load.free();
});

test("a failed load leaves nothing on the device, also of matrices that are not stacked", async () => {
  const tensors = new Map(
    ["a", "b", "c"].map((name) => [name, { name, dtype: "F32" as const, shape: [4, 8], byteLength: 128 }]),
  );
  const read: ParameterSource["read"] = ({ name }) =>
    name === "c" ? Promise.reject(new Error("damaged")) : Promise.resolve(new Uint8Array(128));
  const load = new ParameterLoader(gpu(), { name: "m", tensors, read }, { tune: (name) => name === "b" });
  const others = load.stacked(["a", "b"]);
  await expect(load.matrix("c")).rejects.toThrow("damaged");
  load.free();
  await others;
  expect(gpu().bytes.kept).toBe(0);
});

/** Random blocks with small scales. */
function randomBlocks(type: GgmlType, count: number): Uint8Array {
  const size = GGML_BLOCKS[type].bytes;
  const bytes = Uint8Array.from({ length: count * size }, (_, i) => Math.imul(i, 2654435761) >>> 13);
  const halves = type === "Q6_K" ? [208] : type === "Q8_0" ? [0] : [0, 2];
  for (let i = 0; i < count; i++) for (const h of halves) bytes[i * size + h + 1] = 0x10 + (i % 7); // about 2^-11
  return bytes;
}

test.each([
  [
    new Map([["w", { name: "w", dtype: "I32" as const, shape: [2, 2], byteLength: 16 }]]),
    'one: tensor "w": expected a matrix of F32, BF16, F16 or of blocks, got I32 [2, 2]',
  ],
  [
    new Map([["w", { name: "w", dtype: "F32" as const, shape: [4], byteLength: 16 }]]),
    'one: tensor "w": expected a matrix of F32, BF16, F16 or of blocks, got F32 [4]',
  ],
  [new Map(), 'one: tensor "w": expected a tensor of that name, got none (file has 0 tensors)'],
])("refusals", async (tensors, message) => {
  const source = { ...oneMatrix("F32", 2, 2, new Uint8Array(16)), tensors };
  await expect(new ParameterLoader(gpu(), source).matrix("w")).rejects.toThrow(message);
});
