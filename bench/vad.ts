/**
 * Times voice activity detection: `npm run bench:vad -- [--minutes N] [--rounds N]`. Audio is made:
 * noise whose level rises and falls. Each round takes the whole recording through the front-end,
 * then through the net in steps of 30 s, each for itself. Prints the seconds of both and the share
 * of real time, and writes bench/results/vad-DEVICE-COMMIT.json.
 */
import { parseArgs } from "node:util";
import { openVad } from "../src/checkpoint/layouts/vad.js";
import { inputDim, vadFrontend } from "../src/config/vad-config.js";
import { VadFeatures } from "../src/frontend/vad-features.js";
import { VadState, fsmnVad, loadFsmnVad } from "../src/model/fsmn-vad.js";
import { vadModel } from "../src/node/demo.js";
import { openDevice } from "../src/node/device.js";
import { modelDirectory } from "../src/node/files.js";
import { commitName, deviceName, writeResult } from "./result.js";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "10" }, rounds: { type: "string", default: "5" } },
});
const seconds = 60 * Number(values.minutes);
const step = 30 * 16_000; // samples

const { gpu, adapter } = await openDevice();
const { config, tensors } = await openVad(modelDirectory(vadModel));
const net = await loadFsmnVad(gpu, config, tensors);
const width = inputDim(config);
const normalisation = { shift: tensors.get("cmvn.shift")!.data, scale: tensors.get("cmvn.scale")!.data };
const piece = Float32Array.from({ length: step }, (_, i) => {
  const level = 0.5 + 0.5 * Math.sin(i / 9000);
  return 0.3 * level * level * ((Math.sin(i * 12.9898) * 43758.5453) % 1);
});

function features(): Float32Array[] {
  const stream = new VadFeatures(vadFrontend(config), normalisation);
  const parts = Array.from({ length: seconds / 30 }, () => stream.push(piece));
  return [...parts, stream.push(new Float32Array(0), true)];
}

async function run(parts: readonly Float32Array[]): Promise<number> {
  const state = new VadState(gpu, net);
  let frames = 0;
  for (const rows of parts) {
    const count = rows.length / width;
    const [silence] = await gpu.step(() => [
      fsmnVad(gpu, net, gpu.upload(rows, [count, width]), [count], { state }),
    ]);
    frames += silence.length;
  }
  state.free();
  return frames;
}

const median = (all: readonly number[]): number => [...all].sort((a, b) => a - b)[all.length >> 1];
const times = { frontend: [] as number[], net: [] as number[] };
await run(features().slice(0, 1)); // compiles
for (let round = 0; round < Number(values.rounds); round++) {
  const start = performance.now();
  const parts = features();
  const made = performance.now();
  await run(parts);
  times.frontend.push((made - start) / 1000);
  times.net.push((performance.now() - made) / 1000);
}
for (const [what, all] of Object.entries(times)) {
  const middle = median(all);
  const spread = `${Math.min(...all).toFixed(2)} to ${Math.max(...all).toFixed(2)}`;
  console.log(`${what}: ${middle.toFixed(2)} s (${spread}) for ${seconds} s of audio, ${(seconds / middle).toFixed(0)} × real time`); // prettier-ignore
}
const commit = commitName();
const result = { date: new Date().toISOString(), device: adapter.description, commit, seconds, ...times };
console.log(writeResult(`vad-${deviceName(adapter)}-${commit}`, result));
net.free();
gpu.destroy();
