import { Budget } from "./budget.js";
import { decodeChunks } from "./decoders.js";
import { lastFlacFrame } from "./flac-frames.js";
import { withoutEndTags } from "./tags.js";

/** Bytes of a file that may be decoded to find where its last frame ends. Chance gives one place too many in 65,536 bytes. */
const MOST_TRIED = 2 ** 24;
/** What making a decoder takes, as bytes that it decodes. */
const DECODER = 2 ** 17;

/**
 * A FLAC stream without what follows its last frame, which the decoder loses where other bytes stand behind it.
 * @param total    samples of a channel; 0: unknown
 * @param streams  of the file, which share what may be tried
 * @returns        `bytes` without the tags at their end where the last frame is not found
 * @throws  the budget's signal's reason
 */
export async function withoutTail(
  bytes: Uint8Array,
  total: number,
  streams: number,
  budget: Budget,
): Promise<Uint8Array> {
  const untagged = withoutEndTags(bytes);
  const last = total > 0 ? lastFlacFrame(bytes, total) : undefined;
  if (!last || last.ends.at(-1) === bytes.length) return last ? bytes : untagged;
  const { begin, samples, ends } = last;
  const head = bytes.slice(0, 42); // STREAMINFO, as the only block
  head[4] |= 0x80;
  let left = MOST_TRIED / streams;
  for (const end of ends) {
    await budget.pause();
    const alone = [head, bytes.subarray(begin, end)];
    const report = await decodeChunks("FLAC", alone, new Budget(budget.name), 0, () => undefined);
    if (report.samples === samples && report.errors === 0) return bytes.subarray(0, end);
    left -= end - begin + DECODER;
    if (left < 0) break;
  }
  return untagged;
}
