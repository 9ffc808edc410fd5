import { lowbias32 } from "../hash.js";
import { elementCount } from "../shape.js";

/**
 * Seeded parameters with the same bits in Python (golden/) and TypeScript, so that goldens at real
 * widths need no committed weights. Every value is exact in bf16. All arithmetic is on u32:
 *   stream = mix(fnv1a(name) ^ seed);  h_i = mix(stream + i);  k = (h_i >>> 24) - 128
 *   norm weights (1-D, ".weight")  (128 + (k >> 2)) / 128           in [0.75, 1.2422]
 *   biases (1-D, ".bias")          (2k + 1) · 2^-13
 *   all else                       (2k + 1) · 2^-e,  e = round(log2(147.8 · sqrt(fan_in))),  fan_in
 *     = product(shape[1:])
 */

/** FNV-1a, 32 bits, over the UTF-8 bytes of `text`. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/**
 * One parameter's values.
 * @param name   canonical name; its ending and the rank choose the range
 * @param shape  at most 2^32 elements
 * @param seed   u32
 * @returns      little-endian bytes, row-major, 4 (f32) or 2 (bf16) an element
 */
export function generateParameter(
  name: string,
  shape: readonly number[],
  seed: number,
  dtype: "f32" | "bf16",
): Uint8Array {
  const count = elementCount(shape);
  const table = valueTable(name, shape);
  const stream = lowbias32(fnv1a(name) ^ seed);
  if (dtype === "f32") {
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) out[i] = table[lowbias32((stream + i) | 0) >>> 24];
    return new Uint8Array(out.buffer);
  }
  const bits = new Uint16Array(new Uint32Array(table.buffer).map((b) => b >>> 16));
  const out = new Uint16Array(count);
  for (let i = 0; i < count; i++) out[i] = bits[lowbias32((stream + i) | 0) >>> 24];
  return new Uint8Array(out.buffer);
}

/** The 256 possible values of a parameter, by the top byte of the hash. */
function valueTable(name: string, shape: readonly number[]): Float32Array {
  const value = (k: number): number => {
    if (shape.length === 1 && name.endsWith(".weight")) return (128 + (k >> 2)) / 128;
    if (shape.length === 1 && name.endsWith(".bias")) return (2 * k + 1) * 2 ** -13;
    const fanIn = elementCount(shape.slice(1));
    return (2 * k + 1) * 2 ** -Math.round(Math.log2(147.8 * Math.sqrt(fanIn)));
  };
  return Float32Array.from({ length: 256 }, (_, top) => value(top - 128));
}
