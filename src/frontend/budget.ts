import { AudioError, LongAudioError } from "./errors.js";
import { type Kept, type Tap, isTap } from "./hearing.js";

/**
 * Samples that a file may hold over all its channels: 2 GiB of f32, nine hours of mono at 16 kHz.
 */
export const maxSamples = 2 ** 29;

/**
 * Samples of a compressed file that is decoded in a stream, for each of its bytes: twice those of
 * Opus at 6 kbit/s. Files of more are silence that was made to cost time.
 */
export const samplesPerByte = 128;

const padding = 0.5; // seconds that a codec's delay and padding may add

/**
 * Limits of decoding one file: length, samples and a signal that ends it; and what is kept of it.
 */
export class Budget {
  #samples = 0;
  #seconds = 0;
  #paused = 0;
  #claimed = 0;
  #declared = 0;
  /** Set where the rest of the file is not wanted. */
  stopped = false;

  /**
   * @param maxSeconds  the longest clip; undefined: any
   * @param kept        undefined: all channels at the file's rate
   */
  constructor(
    readonly name: string,
    private readonly maxSeconds?: number | undefined,
    private readonly signal?: AbortSignal | undefined,
    readonly kept?: Kept | Tap | undefined,
  ) {}

  /** Length of the file by its headers, or as far as it was decoded, seconds. */
  get claimed(): number {
    return this.#claimed;
  }

  /** Whether a header has given the length, and nothing longer was decoded but a codec's padding. */
  get declared(): boolean {
    return this.#declared > 0 && this.#declared >= this.#claimed - padding;
  }

  get aborted(): boolean {
    return this.signal?.aborted === true;
  }

  /** Lets a signal arrive, every few ms. @throws  the signal's reason */
  async pause(): Promise<void> {
    if (!this.signal) return;
    this.signal.throwIfAborted();
    if (performance.now() - this.#paused < 20) return;
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#paused = performance.now();
    this.signal.throwIfAborted();
  }

  /**
   * Checks a header's claim before anything is decoded.
   * @param samples  in each channel; 0: unknown
   * @param rate     Hz; 0 or absent: unknown
   * @throws AudioError  longer than `maxSeconds`, more than `maxSamples` over all channels; the
   *                     signal's reason
   */
  claim(samples: number, channels: number, rate = 0): void {
    const seconds = this.#seconds + (rate > 0 ? samples / rate : 0);
    this.#declared = Math.max(this.#declared, seconds);
    this.#check(samples, channels, seconds);
  }

  #check(samples: number, channels: number, seconds: number): void {
    this.signal?.throwIfAborted();
    this.#expect(seconds);
    const most = isTap(this.kept) ? this.kept.mostSamples : maxSamples;
    if (this.#samples + samples * channels <= most) return;
    const got = channels === 1 ? `${samples}` : `${samples} in each of ${channels} channels`;
    throw new AudioError(this.name, "samples", `at most ${most} over all channels`, got, {
      advice: "cut the clip into parts",
    });
  }

  /** Counts samples that were decoded. @throws as `claim` */
  take(samples: number, channels: number, rate: number): void {
    this.#check(samples, channels, this.#seconds + (rate > 0 ? samples / rate : 0));
    this.#samples += samples * channels;
    this.#seconds += rate > 0 ? samples / rate : 0;
  }

  /** A header gives the length. @throws AudioError  `seconds` is longer than `maxSeconds` */
  lasts(seconds: number): void {
    this.#declared = Math.max(this.#declared, seconds);
    this.#expect(seconds);
  }

  #expect(seconds: number): void {
    const { name, maxSeconds } = this;
    this.#claimed = Math.max(this.#claimed, seconds);
    if (maxSeconds === undefined || seconds <= maxSeconds + padding) return;
    throw new LongAudioError(name, seconds, maxSeconds);
  }
}
