// Audio file → text: npx tsx examples/transcribe.ts clip.wav [MODEL]
import { readFile } from "node:fs/promises";
import { Transcriber, decodeAudio } from "funasr-webgpu";
import { demoModel, modelDirectory, openDevice } from "funasr-webgpu/node";

const [file, model = demoModel] = process.argv.slice(2);
if (!file) throw new Error("usage: npx tsx examples/transcribe.ts clip.wav [MODEL]");

const { gpu } = await openDevice();
try {
  const transcriber = await Transcriber.load(gpu, modelDirectory(model));
  const clip = transcriber.prepare(await decodeAudio(await readFile(file), file), file);
  const [{ text }] = await transcriber.transcribe([clip], { language: "en" });
  console.log(text);
} finally {
  gpu.destroy(); // without this line a driver may hang at exit
}
