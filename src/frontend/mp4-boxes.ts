import { viewOf } from "./spans.js";
import { chunkId } from "./chunks.js";

/** Where a box's body is: [begin, end). */
export type Span = readonly [begin: number, end: number];

export function boxId(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

/**
 * Bodies of the boxes of one id in a span, in order. A box of an invalid size goes to the span's
 * end.
 */
export function* boxesIn(view: DataView, [begin, end]: Span, id: string): Generator<Span> {
  const wanted = chunkId(id);
  for (let at = begin; at + 8 <= end;) {
    const stop = boxEnd(view, at, end);
    const head = view.getUint32(at) === 1 ? 16 : 8;
    if (view.getUint32(at + 4) === wanted) yield [Math.min(stop, at + head), stop];
    at = stop;
  }
}

/** Where the box at `at` ends, in a span that ends at `end`. */
function boxEnd(view: DataView, at: number, end: number): number {
  const short = view.getUint32(at);
  const size = short === 1 && at + 16 <= end ? Number(view.getBigUint64(at + 8)) : short;
  return size < 8 ? end : Math.min(end, at + size);
}

/** The first box by a path of ids. */
export function boxAt(view: DataView, span: Span, ...path: readonly string[]): Span | undefined {
  const [id, ...rest] = path;
  if (id === undefined) return span;
  for (const body of boxesIn(view, span, id)) {
    const found = boxAt(view, body, ...rest);
    if (found) return found;
  }
  return undefined;
}

/** Boxes that the decoder opens. */
const OPENED = new Set(
  ["moov", "trak", "mdia", "minf", "stbl", "udta", "edts", "sinf", "wave", "mvex"].map(chunkId),
);
/** Boxes that a file may hold: 24 hours in fragments of 50 ms have 3.5 million. */
export const mostBoxes = 4_000_000;

/** Boxes of a file, with those inside others. The count stops at `mostBoxes` + 1. */
export function countBoxes(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  const ends = [view.byteLength];
  let count = 0;
  for (let at = 0; count <= mostBoxes;) {
    const end = ends[ends.length - 1];
    if (at + 8 > end) {
      at = ends.pop()!;
      if (ends.length === 0) break;
      continue;
    }
    count++;
    const stop = boxEnd(view, at, end);
    const opened = OPENED.has(view.getUint32(at + 4));
    if (opened) ends.push(stop);
    at = opened ? Math.min(stop, at + 8) : stop;
  }
  return count;
}
