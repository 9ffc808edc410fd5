/** Where `byte` is next, from `from` on; -1: nowhere. A run of it costs no call of `indexOf` for each. */
export function nextByte(bytes: Uint8Array, byte: number, from: number): number {
  return bytes[from] === byte ? from : bytes.indexOf(byte, from);
}

/** Byte ranges [begin, end) of a file. */
export type Spans = readonly (readonly [begin: number, end: number])[];

/** The bytes of spans, one after another; a view where there is one. */
export function spanBytes(bytes: Uint8Array, spans: Spans): Uint8Array {
  if (spans.length === 1) return bytes.subarray(...spans[0]);
  const all = new Uint8Array(spans.reduce((sum, [begin, end]) => sum + end - begin, 0));
  let at = 0;
  for (const [begin, end] of spans) {
    all.set(bytes.subarray(begin, end), at);
    at += end - begin;
  }
  return all;
}
