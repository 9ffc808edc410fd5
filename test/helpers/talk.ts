import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseWav } from "../../src/frontend/wav.js";
import { wavBytes } from "../../src/frontend/write-wav.js";
import { demoModel } from "../../src/node/demo.js";

/** Samples of a clip of the demo, 16 kHz. */
export function clipSamples(name: string): Float32Array {
  return parseWav(readFileSync(join(demoModel, "clips", name)), name).channels[0];
}

/** Sentences of the demo by turns, each with three seconds of silence behind it, 16 kHz. */
export function talk(sentences: number): Float32Array<ArrayBuffer> {
  const clips = ["en-seen-1.wav", "zh-seen-1.wav", "en-seen-2.wav", "zh-seen-2.wav"].map(clipSamples);
  const parts = Array.from({ length: sentences }, (_, i) => clips[i % clips.length]);
  const pause = 48_000;
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length + pause, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length + pause;
  }
  return all;
}

/** A WAV file of two channels of one length, 16 kHz. */
export function stereoWav(left: Float32Array, right: Float32Array): Uint8Array {
  const both = Float32Array.from({ length: 2 * left.length }, (_, i) => [left, right][i % 2][i >> 1]);
  const bytes = wavBytes(both, 16_000);
  const view = new DataView(bytes.buffer);
  view.setUint16(22, 2, true); // channels
  view.setUint32(28, 64_000, true); // bytes a second
  view.setUint16(32, 4, true); // bytes of a frame
  return bytes;
}
