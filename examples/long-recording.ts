// Recording of any length → subtitles: npx tsx examples/long-recording.ts [MODEL]
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  Transcriber,
  VoiceActivityDetector,
  decodeAudio,
  subtitles,
  transcribeRecording,
} from "funasr-webgpu";
import { demoModel, modelDirectory, openDevice, vadModel } from "funasr-webgpu/node";

const [model = demoModel] = process.argv.slice(2);

/** Blocks of mono samples at 16 kHz, as a microphone or a file would give them. */
async function* recording(): AsyncGenerator<Float32Array> {
  for (const name of ["en-seen-1.wav", "zh-seen-1.wav", "en-seen-2.wav"]) {
    const clip = await decodeAudio(await readFile(join(demoModel, "clips", name)), name);
    for (let at = 0; at < clip.channels[0].length; at += 8000) yield clip.channels[0].subarray(at, at + 8000);
    yield new Float32Array(32_000); // a pause of 2 s
  }
}

const { gpu } = await openDevice();
try {
  // with the CTC head, text that nobody said is left out, and subtitles follow the words
  const transcriber = await Transcriber.load(gpu, modelDirectory(model), { wordTimes: "optional" });
  const detector = await VoiceActivityDetector.load(gpu, modelDirectory(vadModel));
  const { segments } = await transcribeRecording(transcriber, detector, recording());
  console.log(subtitles(segments, "srt"));
} finally {
  gpu.destroy(); // without this line a driver may hang at exit
}
