import { dirname, relative, resolve, sep } from "node:path";
import type { PageSegment } from "../decode/transcript-page/page.js";
import { Waveform, levelsOf } from "../decode/transcript-page/waveform.js";
import type { VoiceActivityDetector } from "../decode/vad/detector.js";
import { concatenated } from "../frontend/audio.js";
import { streamClip } from "../node/clip.js";
import { writeFileAtomic } from "../node/files.js";
import { wavDataUri } from "../report/wav.js";
import { note, shown } from "./output.js";

const rate = 16_000;
/** Longer audio is not within the page: a minute takes 2.6 MB of it. */
const mostEmbedded = 300; // seconds

/** What the page of a transcript shows. */
export interface ReportedTranscript {
  /** The clip. */
  readonly file: string;
  /** Counted from 1; absent: the mean of all. */
  readonly channel?: number;
  readonly about: readonly string[];
  readonly segments: readonly PageSegment[];
}

/**
 * Writes the page of a transcript. The clip is decoded once more, block by block. The page holds
 * audio of up to five minutes, and refers to the file of longer audio.
 * @param detector  gives the probability of speech; absent: the page has none
 * @throws AudioError, WriteError
 */
export async function writeReport(
  path: string,
  transcript: ReportedTranscript,
  detector?: VoiceActivityDetector,
): Promise<void> {
  const { file, channel, about, segments } = transcript;
  const waveform = new Waveform(rate);
  const blocks: Float32Array[] = [];
  const stream = detector?.stream({ name: file });
  const speech: Uint8Array[] = [];
  const detect = async (block: Float32Array, end = false): Promise<void> => {
    if (stream) speech.push(levelsOf((await stream.push(block, end)).speech));
  };
  const sink = async (block: Float32Array): Promise<void> => {
    await detect(block);
    waveform.add(block);
    if (waveform.seconds <= mostEmbedded) blocks.push(block.slice());
    else blocks.length = 0;
  };
  try {
    await streamClip(file, { rate, channel }, sink);
    await detect(new Float32Array(0), true);
  } finally {
    stream?.free();
  }
  const { seconds, peaks } = waveform;
  const embedded = seconds <= mostEmbedded;
  const audio = embedded ? wavDataUri(concatenated(blocks), rate) : addressOf(file, path);
  const { transcriptPage } = await import("../decode/transcript-page/page.js");
  const page = transcriptPage({
    name: file,
    about,
    seconds,
    audio,
    peaks,
    speech: stream && Buffer.concat(speech),
    segments,
  });
  await writeFileAtomic(path, [new TextEncoder().encode(page)]);
  note(embedded ? `wrote ${shown(path)}` : `wrote ${shown(path)}, which plays ${shown(file)}`);
}

/** A file as a page at `path` refers to it. */
function addressOf(file: string, path: string): string {
  const way = relative(dirname(resolve(path)), resolve(file));
  return way.split(sep).map(encodeURIComponent).join("/");
}
