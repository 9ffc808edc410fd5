import { Budget } from "./budget.js";
import { decodeChunks } from "./decoders.js";
import { lastFlacFrame } from "./flac-frames.js";
import { withoutEndTags } from "./tags.js";

/**
 * A FLAC stream without what follows its last frame, which the decoder loses where other bytes stand behind it.
 * @param total  samples of a channel; 0: unknown
 * @param tries  places for the last frame's end that are tried, counted down
 * @returns      `bytes` without the tags at their end where the last frame is not found
 */
export async function withoutTail(
  bytes: Uint8Array,
  total: number,
  tries: { left: number },
): Promise<Uint8Array> {
  const untagged = withoutEndTags(bytes);
  const last = total > 0 ? lastFlacFrame(bytes, total) : undefined;
  if (!last || last.ends.at(-1) === bytes.length) return last ? bytes : untagged;
  const { begin, samples, ends } = last;
  const head = bytes.slice(0, 42); // STREAMINFO, as the only block
  head[4] |= 0x80;
  for (const end of ends) {
    if (tries.left-- <= 0) break;
    const alone = [head, bytes.subarray(begin, end)];
    const report = await decodeChunks("FLAC", alone, new Budget("FLAC"), 0, () => undefined);
    if (report.samples === samples && report.errors === 0) return bytes.subarray(0, end);
  }
  return untagged;
}
