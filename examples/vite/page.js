import { SpeechWorker } from "funasr-webgpu/browser";
const worker = new Worker(new URL("funasr-webgpu/worker", import.meta.url), { type: "module" });
const [input, output] = document.querySelectorAll("input, output");
const show = ({ text, message }) => (output.textContent = text ?? message);
const speech = SpeechWorker.start(worker, { model: { url: "models/demo/" }, vad: { url: "models/vad/" } });
speech.then(() => (input.disabled = false), show);
input.onchange = async () => {
  show({ text: "" });
  (await speech).transcribe(input.files[0]).then(show, show);
};
