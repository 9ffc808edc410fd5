import { noiseClip } from "./tiny-model.js";

/** A 16-bit WAV of noise; `edit` damages it. */
export function wav(
  seconds: number,
  seed: number,
  edit: (bytes: Uint8Array, view: DataView) => unknown = () => 0,
) {
  const [samples] = noiseClip(seconds, seed).channels;
  const bytes = new Uint8Array(44 + 2 * samples.length);
  const view = new DataView(bytes.buffer);
  const text = (at: number, value: string): void => bytes.set(new TextEncoder().encode(value), at);
  text(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, 16_000, true);
  view.setUint32(28, 32_000, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(44 + 2 * i, Math.round(32767 * sample), true));
  edit(bytes, view);
  return bytes;
}

/** A 32-bit float WAV whose second sample is NaN. */
export function nanWav(): Uint8Array {
  const bytes = wav(0.1, 1);
  const view = new DataView(bytes.buffer);
  view.setUint16(20, 3, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 32, true);
  bytes.fill(0, 44);
  view.setFloat32(48, NaN, true);
  return bytes;
}
