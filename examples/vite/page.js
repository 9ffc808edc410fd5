import { SpeechWorker } from "funasr-webgpu/browser";

const worker = new Worker(new URL("funasr-webgpu/worker", import.meta.url), { type: "module" });
const models = { model: { url: "models/demo/" }, vad: { url: "models/vad/" } };
const speech = await SpeechWorker.start(worker, models);
const [input, output] = document.querySelectorAll("input, output");
input.disabled = false;
input.onchange = async () => {
  output.textContent = (await speech.transcribe(input.files[0])).text;
};
