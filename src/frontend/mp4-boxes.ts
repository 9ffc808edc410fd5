/** Where a box's body is: [begin, end). */
export type Span = readonly [begin: number, end: number];

/** A box's id as a number. */
export function word(id: string): number {
  return Array.from(id).reduce((sum, c) => ((sum << 8) | c.charCodeAt(0)) >>> 0, 0);
}

export function boxId(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

/** Bodies of the boxes of one id in a span, in their order. Sizes that pass its end, or mean nothing, go to its end. */
export function* boxesIn(view: DataView, [begin, end]: Span, id: string): Generator<Span> {
  const wanted = word(id);
  for (let at = begin; at + 8 <= end;) {
    const short = view.getUint32(at);
    const wide = short === 1 && at + 16 <= end;
    const size = wide ? Number(view.getBigUint64(at + 8)) : short;
    const stop = size < 8 ? end : Math.min(end, at + size);
    if (view.getUint32(at + 4) === wanted) yield [Math.min(stop, at + (wide ? 16 : 8)), stop];
    at = stop;
  }
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
