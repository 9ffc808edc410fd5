import { concatenated } from "./audio.js";
import type { FrontendConfig } from "./config.js";
import { AudioError } from "./errors.js";
import { fbank } from "./fbank.js";

/** The two vectors of am.mvn: features become (x + shift) · scale. */
export interface Normalisation {
  readonly shift: Float32Array;
  readonly scale: Float32Array;
}

/**
 * Stacked and normalised features of audio that comes in pieces of any length. All pieces' rows
 * together have the bits of the rows of the whole. A row stands for a frame; it holds frames after
 * it, so the last ones come at the end.
 */
export class VadFeatures {
  #samples = new Float32Array(0);
  /** Samples of earlier pieces. */
  #before = 0;
  /** Frames that a row still reaches: [n, mels]. The first ones stand for those before the audio. */
  #frames: Float32Array = new Float32Array(0);

  /** @param config  its stride is 1 */
  constructor(
    private readonly config: FrontendConfig,
    private readonly normalisation: Normalisation,
    private readonly name = "audio",
  ) {}

  /**
   * The rows that these samples complete.
   * @param samples  [n] f32, mono, at the config's rate, range [-1, 1]
   * @param end      no samples follow
   * @returns        [rows, stack · mels] f32; in all 1 + floor((n - 400) / 160) rows, none below 400
   *                 samples
   * @throws AudioError  a sample that is NaN or infinite
   */
  push(samples: Float32Array, end = false): Float32Array {
    const { frameLength, frameShift, samplingRate, lfrStack: stack, melBins } = this.config;
    const length = Math.trunc((samplingRate * frameLength) / 1000);
    const shift = Math.trunc((samplingRate * frameShift) / 1000);
    const bad = samples.findIndex((sample) => !Number.isFinite(sample));
    if (bad >= 0)
      throw new AudioError(this.name, `sample ${this.#before + bad}`, "a finite number", samples[bad]);
    this.#before += samples.length;
    const all = this.#samples.length === 0 ? samples : concatenated([this.#samples, samples]);
    const left = (stack - 1) >> 1;
    if (all.length >= length) {
      const { data, frames } = fbank(all, this.config, this.name);
      const known = this.#frames.length > 0 ? [this.#frames] : repeated(data.subarray(0, melBins), left);
      this.#frames = concatenated([...known, data]);
      this.#samples = all.slice(frames * shift);
    } else this.#samples = all.slice();
    if (end && this.#frames.length > 0) {
      const last = this.#frames.subarray(-melBins);
      this.#frames = concatenated([this.#frames, ...repeated(last, stack - 1 - left)]);
    }
    return this.#rows(stack, melBins);
  }

  #rows(stack: number, melBins: number): Float32Array {
    const { shift, scale } = this.normalisation;
    const width = stack * melBins;
    const count = Math.max(0, this.#frames.length / melBins - stack + 1);
    const rows = new Float32Array(count * width);
    for (let r = 0; r < count; r++)
      for (let c = 0; c < width; c++)
        rows[r * width + c] = (this.#frames[r * melBins + c] + shift[c]) * scale[c];
    this.#frames = this.#frames.slice(count * melBins);
    return rows;
  }
}

function repeated(frame: Float32Array, times: number): Float32Array[] {
  return Array.from({ length: times }, () => frame);
}
