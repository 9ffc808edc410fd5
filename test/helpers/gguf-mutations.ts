import fc from "fast-check";

/** Uniform in [0, 1): fc.double favours the smallest. */
const part = fc.integer({ min: 0, max: 9_999 }).map((n) => n / 10_000);
const interesting = fc.constantFrom(0, 1, 7, 8, 9, 13, 14, 0x7f, 0x80, 0xff);

const edit = fc.record({
  at: part,
  to: fc.oneof(interesting, fc.nat(255)),
  run: fc.constantFrom(1, 1, 1, 2, 4, 8),
});

/** How to damage a file: bytes overwritten, and perhaps its end cut off. */
export interface Damage {
  readonly edits: readonly { readonly at: number; readonly to: number; readonly run: number }[];
  readonly cut: number | null;
}

/** @param cuts  one in so many files is cut */
export function damages(cuts: number): fc.Arbitrary<Damage> {
  return fc
    .record({ edits: fc.array(edit, { maxLength: 4 }), cut: part, whole: fc.nat(cuts - 1) })
    .map(({ edits, cut, whole }) => ({ edits, cut: whole === 0 ? cut : null }));
}

/**
 * Half of the edits fall on the first 200 bytes, which hold the counts, the rest on the header:
 * past it there are only weights.
 */
export function damaged(whole: Uint8Array, header: number, { edits, cut }: Damage): Uint8Array {
  const bytes = whole.slice(0, cut === null ? whole.length : Math.floor(cut * whole.length));
  for (const { at, to, run } of edits) {
    const start = Math.floor(at < 0.5 ? at * 400 : (at - 0.5) * 2 * header);
    bytes.fill(to, Math.min(start, bytes.length), Math.min(start + run, bytes.length));
  }
  return bytes;
}
