/** `indexOf` of a byte, which is fast in a run of that byte too. */
export function nextByte(bytes: Uint8Array, byte: number, from: number): number {
  return bytes[from] === byte ? from : bytes.indexOf(byte, from);
}

/** Reads numbers of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Byte ranges [begin, end) of a file. */
export type Spans = readonly (readonly [begin: number, end: number])[];

/** The bytes of spans, joined; a view where there is one span. */
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
