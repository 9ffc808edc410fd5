import { Resampler } from "./resample.js";

/** Little-endian PCM of 16 bits, mono, in pieces of any length, as samples at 16 kHz. */
export class PcmReader {
  readonly #resampler: Resampler;
  /** The first byte of a sample whose second one has not come. */
  #half: number | undefined;

  /**
   * @param rate  Hz, 4,000 to 768,000
   * @throws AudioError  another rate
   */
  constructor(readonly rate: number) {
    this.#resampler = new Resampler(rate, 16_000);
  }

  /** Whether the second byte of a sample has not come. */
  get half(): boolean {
    return this.#half !== undefined;
  }

  /** @returns [n] f32, 16 kHz, range [-1, 1] */
  push(bytes: Uint8Array): Float32Array {
    const joined = this.#half === undefined ? bytes : behind(this.#half, bytes);
    this.#half = joined.length % 2 === 1 ? joined[joined.length - 1] : undefined;
    const view = new DataView(joined.buffer, joined.byteOffset, joined.length & ~1);
    const samples = new Float32Array(view.byteLength / 2);
    for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / 32_768;
    return this.#resampler.push(samples);
  }

  /** The samples that waited for more. Half a sample is dropped. */
  end(): Float32Array {
    this.#half = undefined;
    return this.#resampler.end();
  }
}

function behind(first: number, bytes: Uint8Array): Uint8Array {
  const joined = new Uint8Array(1 + bytes.length);
  joined[0] = first;
  joined.set(bytes, 1);
  return joined;
}
