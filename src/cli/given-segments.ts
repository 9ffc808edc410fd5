import { MOST_SEGMENT_BYTES, SegmentFile, SegmentFileError } from "../decode/segments/segment-file.js";
import { readSmallFile } from "../node/small-file.js";
import { exitCode, report } from "./output.js";
import type { TranscribeCliOptions } from "./transcribe-options.js";

/**
 * The segments of --segments, undefined without it; false where they are wrong, which is reported as
 * wrong usage, before anything is loaded. A clip of several that has no segments is refused at its turn.
 */
export async function readSegments(
  files: readonly string[],
  { segments: path, channel, debug }: Pick<TranscribeCliOptions, "segments" | "channel" | "debug">,
): Promise<SegmentFile | undefined | false> {
  if (path === undefined) return undefined;
  try {
    const bytes = await readSmallFile(path, MOST_SEGMENT_BYTES, (refusal) => new SegmentFileError(refusal));
    const given = new SegmentFile(bytes, path);
    const named = files.filter((file) => given.has(file));
    for (const file of named.length > 0 ? named : files) {
      const channels = channel === "each" ? given.channelsOf(file) : [channel];
      for (const one of channels.length > 0 ? channels : [undefined]) given.of(file, Infinity, one);
    }
    return given;
  } catch (error) {
    report(error, debug === true, path);
    process.exitCode = exitCode.wrongUsage;
    return false;
  }
}
