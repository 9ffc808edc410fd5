import { Budget } from "./budget.js";
import { decodeChunks } from "./decoders.js";
import { lastFlacFrame } from "./flac-frames.js";
import { withoutEndTags } from "./tags.js";

/**
 * Bytes of a file that may be decoded to find the end of its last frame. By chance one place in
 * 65,536 fits the checksum.
 */
const MOST_TRIED = 2 ** 24;
/** The cost of a new decoder, in bytes decoded. */
const DECODER = 2 ** 17;

/**
 * A FLAC stream without the bytes behind its last frame, as the decoder would lose that frame.
 * @param total    samples of a channel; 0: unknown
 * @param streams  of the file, which share the bytes that may be decoded
 * @returns        where the last frame is not found, `bytes` without the tags at their end
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
