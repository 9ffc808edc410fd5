const FRAMES_A_SECOND = 100;

/** The largest level of each 10 ms of a recording, which comes in pieces of any size. */
export class Waveform {
  #peaks = new Uint8Array(1024);
  #samples = 0;

  /** @param sampleRate  Hz */
  constructor(readonly sampleRate: number) {}

  /**
   * Takes the next samples.
   * @param samples  [n] f32, range [-1, 1], one channel
   */
  add(samples: Float32Array): void {
    const after = this.#samples + samples.length;
    const frames = this.#frameOf(after) + 1;
    if (frames > this.#peaks.length) {
      const grown = new Uint8Array(Math.max(frames, 2 * this.#peaks.length));
      grown.set(this.#peaks);
      this.#peaks = grown;
    }
    for (let i = 0; i < samples.length; i++) {
      const level = Math.min(255, Math.round(255 * Math.abs(samples[i])));
      const frame = this.#frameOf(this.#samples + i);
      if (level > this.#peaks[frame]) this.#peaks[frame] = level;
    }
    this.#samples = after;
  }

  get seconds(): number {
    return this.#samples / this.sampleRate;
  }

  /** [ceil(100 · seconds)] levels, 255 for full scale. */
  get peaks(): Uint8Array {
    return this.#peaks.slice(0, Math.ceil((this.#samples * FRAMES_A_SECOND) / this.sampleRate));
  }

  #frameOf(sample: number): number {
    return Math.floor((sample * FRAMES_A_SECOND) / this.sampleRate);
  }
}

/** Probabilities from 0 to 1 as bytes from 0 to 255. */
export function levelsOf(probabilities: ArrayLike<number>): Uint8Array {
  return Uint8Array.from(probabilities, (value) => Math.round(255 * Math.min(1, Math.max(0, value))));
}
