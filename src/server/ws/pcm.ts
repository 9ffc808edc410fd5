import { Resampler } from "../../frontend/resample.js";

/** Little-endian PCM of 16 bits in pieces of any length, as samples at 16 kHz. */
export class PcmReader {
  readonly #resampler: Resampler;
  /** The first byte of a sample whose second one has not come. */
  #half: number | undefined;

  /** @param rate  Hz, 4,000 to 768,000 */
  constructor(readonly rate: number) {
    this.#resampler = new Resampler(rate, 16_000);
  }

  /** @returns [n] f32, 16 kHz, range [-1, 1] */
  push(bytes: Uint8Array): Float32Array {
    const whole = this.#half === undefined ? bytes : Buffer.concat([Uint8Array.of(this.#half), bytes]);
    this.#half = whole.length % 2 === 1 ? whole[whole.length - 1] : undefined;
    const view = new DataView(whole.buffer, whole.byteOffset, whole.length & ~1);
    const samples = new Float32Array(view.byteLength / 2);
    for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / 32_768;
    return this.#resampler.push(samples);
  }

  /** The samples that waited for more. */
  end(): Float32Array {
    this.#half = undefined;
    return this.#resampler.end();
  }
}
