import { unspaced } from "../../scripts.js";

/** A word of a script with spaces, a character of one without, or a number. */
export interface Unit {
  /** As written, with the punctuation beside it, without spaces around. */
  readonly text: string;
  /** UTF-8 bytes of its letters and digits: [begin, end) of the whole text. */
  readonly begin: number;
  readonly end: number;
  /** It has digits, which may be spoken in other words than the tokens that spell them. */
  readonly number: boolean;
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const letter = /[\p{L}\p{N}\p{M}]/u;
/** Marks that do not end a word between two of its letters or digits: isn't, 3.5, 12:30, well-known. */
const inner = /^[.,:/'’_-]$/;
const opening = /^[\p{Ps}\p{Pi}\p{Sc}#]/u;

/** Whether a character goes on with a word. */
function joins(segment = ""): boolean {
  return letter.test(segment) && !unspaced.test(segment);
}

interface Span {
  from: number;
  to: number;
  begin: number;
  end: number;
}

/** The units of a text in order. Punctuation belongs to the unit before it, an opening mark to the one behind it. */
export function textUnits(text: string): Unit[] {
  const encoder = new TextEncoder();
  const parts = Array.from(graphemes.segment(text), ({ segment, index }) => ({ segment, index }));
  const spans: Span[] = [];
  let byte = 0;
  let open = false; // whether the last unit takes more letters
  let prefix: number | undefined; // where an opening mark stands
  parts.forEach(({ segment, index }, i) => {
    const bytes = encoder.encode(segment).length;
    const to = index + segment.length;
    const last = spans.at(-1);
    if (letter.test(segment)) {
      const alone = unspaced.test(segment);
      if (last && open && !alone) [last.to, last.end] = [to, byte + bytes];
      else spans.push({ from: prefix ?? index, to, begin: byte, end: byte + bytes });
      open = !alone;
      prefix = undefined;
    } else if (!(open && inner.test(segment) && joins(parts[i + 1]?.segment))) {
      open = false;
      if (/^\s/u.test(segment)) prefix = undefined;
      else if (!last || opening.test(segment)) prefix ??= index;
      else if (prefix === undefined) last.to = to;
    }
    byte += bytes;
  });
  const core = new TextDecoder();
  const encoded = encoder.encode(text);
  return spans.map(({ from, to, begin, end }) => ({
    text: text.slice(from, to),
    begin,
    end,
    number: /\p{Nd}/u.test(core.decode(encoded.subarray(begin, end))),
  }));
}
