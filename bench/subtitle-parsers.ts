import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "subsrt-ts";
import webvtt from "webvtt-parser";
import { subtitles } from "../src/decode/subtitles/formats.js";
import type { TimedSegment } from "../src/decode/subtitles/segment.js";

/** Cues that a parser of other people read of a transcript's SRT and VTT. */
export interface ParsedCues {
  readonly subsrt: number;
  readonly webvtt: number;
  /** Absent: ffmpeg is not installed. */
  readonly ffmpeg?: { readonly srt: number; readonly vtt: number };
}

/**
 * Reads a transcript's SRT and VTT by subsrt-ts, webvtt-parser and, where installed, ffmpeg.
 * @param folder  gets transcript.srt and transcript.vtt
 * @throws        a parser finds an error, or the counts of cues differ
 */
export function parsedCues(segments: readonly TimedSegment[], folder: string): ParsedCues {
  const [srt, vtt] = [subtitles(segments, "srt"), subtitles(segments, "vtt")];
  const subsrt = parse(srt, { format: "srt" }).filter(({ type }) => type === "caption").length;
  const { errors, cues } = new webvtt.WebVTTParser().parse(vtt, "subtitles");
  if (errors.length > 0) throw new Error(`subtitles: webvtt-parser: ${JSON.stringify(errors[0])}`);
  for (const [name, text] of [
    ["srt", srt],
    ["vtt", vtt],
  ])
    // prettier-ignore
    writeFileSync(join(folder, `transcript.${name}`), text);
  const ffmpeg = hasFfmpeg() && { srt: cuesByFfmpeg(folder, "srt"), vtt: cuesByFfmpeg(folder, "vtt") };
  const counts = [subsrt, cues.length, ...(ffmpeg ? Object.values(ffmpeg) : [])];
  if (subsrt === 0 || new Set(counts).size > 1)
    throw new Error(`subtitles: expected as many cues by each parser, got ${counts.join(", ")}`);
  return { subsrt, webvtt: cues.length, ...(ffmpeg && { ffmpeg }) };
}

function hasFfmpeg(): boolean {
  try {
    execFileSync("ffmpeg", ["-version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function cuesByFfmpeg(folder: string, format: "srt" | "vtt"): number {
  const args = ["-v", "error", "-i", join(folder, `transcript.${format}`), "-f", "srt", "-"];
  const text = execFileSync("ffmpeg", args, { encoding: "utf8", maxBuffer: 2 ** 28 });
  return text.match(/ --> /g)?.length ?? 0;
}
