import type { TimeSpan } from "../../data/timed-text.js";
import { joinTexts } from "../../scripts.js";
import type { HeardSegment, HeardWord } from "../record.js";
import { within } from "./spans.js";

/**
 * Segments without the words whose middle is in a part that is ignored. Where words have no times,
 * they are spread over their segment by their characters.
 * @param ignore  in the order of time
 * @source NIST SCTK doc/infmts.htm, IGNORE_TIME_SEGMENT_IN_SCORING
 */
export function withoutIgnored(
  segments: readonly HeardSegment[],
  ignore: readonly TimeSpan[],
): HeardSegment[] {
  if (ignore.length === 0) return [...segments];
  const ignored = within(ignore);
  return segments.flatMap((segment) => {
    const words = segment.words ?? spread(segment);
    const kept = words.filter(({ start, end }) => !ignored((start + end) / 2));
    if (kept.length === words.length) return [segment];
    if (kept.length === 0) return [];
    return [
      {
        ...segment,
        start: Math.max(segment.start, kept[0].start),
        end: Math.min(segment.end, kept.at(-1)!.end),
        text: joinTexts(kept.map(({ text }) => text)),
        ...(segment.words && { words: kept }),
      },
    ];
  });
}

/** Words and characters of scripts without spaces, each as long as its share of the text. */
function spread({ start, end, text }: HeardSegment): HeardWord[] {
  const pieces =
    text.match(
      /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]+/gu,
    ) ?? [];
  const characters = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const step = (end - start) / characters;
  let at = start;
  return pieces.map((piece) => {
    const from = at;
    at += step * piece.length;
    return { text: piece, start: from, end: at };
  });
}
