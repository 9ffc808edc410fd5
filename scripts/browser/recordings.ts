/** Audio that voice activity cuts, made of the demo's clips, and its text in Node. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type RecordingTranscription,
  transcribeRecording,
} from "../../src/decode/segments/transcribe-recording.js";
import { Transcriber } from "../../src/decode/transcriber.js";
import { VoiceActivityDetector } from "../../src/decode/vad/detector.js";
import { decodeAudio } from "../../src/frontend/decode.js";
import { wavBytes } from "../../src/frontend/write-wav.js";
import { demoModel, vadModel } from "../../src/node/demo.js";
import { openDevice } from "../../src/node/device.js";
import { modelDirectory } from "../../src/node/files.js";

const rate = 16_000;
const names = ["en-seen-2.wav", "zh-seen-2.wav", "en-seen-1.wav", "zh-seen-1.wav", "en-unseen-1.wav"];

/** Files by name: a recording of 100 s, and one of 10 s for `cut`. */
export async function madeRecordings(clips: string): Promise<Readonly<Record<string, Uint8Array>>> {
  const long = new Float32Array(100 * rate);
  let at = rate;
  for (const name of names) {
    const { channels } = await decodeAudio(readFileSync(join(clips, name)), name, { keep: { rate } });
    long.set(channels[0], at);
    at += channels[0].length + 14 * rate;
  }
  return { "long.wav": wavBytes(long, rate), "cut.wav": wavBytes(long.subarray(0, 10 * rate), rate) };
}

/** What two programs have to agree on. */
export type CutText = Pick<RecordingTranscription, "text" | "segments">;

/** The same without what differs in the last bits from device to device. */
export function cutText({ text, segments }: CutText): CutText {
  const kept = segments.map(({ start, end, text, tokenIds, finish, words }) => {
    const segment = { start, end, text, tokenIds, finish };
    return words ? { ...segment, words } : segment;
  });
  return { text, segments: kept };
}

/** The texts of recordings in Node, each cut by voice activity. */
export async function recordingsInNode(
  recordings: Readonly<Record<string, Uint8Array>>,
): Promise<Readonly<Record<string, CutText>>> {
  const { gpu } = await openDevice({ quiet: true });
  const transcriber = await Transcriber.load(gpu, modelDirectory(demoModel), { wordTimes: "optional" });
  const detector = await VoiceActivityDetector.load(gpu, modelDirectory(vadModel));
  const texts: Record<string, CutText> = {};
  for (const [name, bytes] of Object.entries(recordings)) {
    const { channels } = await decodeAudio(bytes, name, { keep: { rate } });
    texts[name] = await transcribeRecording(transcriber, detector, channels, { wordTimes: true });
  }
  gpu.destroy();
  return texts;
}
