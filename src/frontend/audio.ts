import { AudioError, convertIt } from "./errors.js";

/** Lowest and highest valid sample rate, Hz. */
const MIN_SAMPLE_RATE = 4_000;
const MAX_SAMPLE_RATE = 768_000;

/**
 * Samples of one file: channels [C][n] f32, nominal range [-1, 1], all of one length; sampleRate in
 * Hz.
 */
export interface DecodedAudio {
  readonly channels: Float32Array[];
  readonly sampleRate: number;
  /** What the file lost: it was cut short, or frames were skipped. Absent: no loss was detected. */
  readonly damage?: string;
  /** Length of the file, where `channels` were resampled. */
  readonly seconds?: number;
  /** Why the channel is not the mean of the file's channels. */
  readonly warning?: string;
}

/** @throws AudioError  `rate` is no whole sample rate between 4,000 and 768,000 Hz */
export function checkSampleRate(file: string, field: string, rate: number): void {
  if (!(Number.isInteger(rate) && rate >= MIN_SAMPLE_RATE && rate <= MAX_SAMPLE_RATE)) {
    throw new AudioError(file, field, `${MIN_SAMPLE_RATE}..${MAX_SAMPLE_RATE} whole Hz`, rate, convertIt);
  }
}

/**
 * @param at  samples of each channel in front of these
 * @throws AudioError  a sample is NaN or infinite; the message names channel and index of the first
 */
export function checkFinite(file: string, channels: readonly Float32Array[], at = 0): void {
  for (const [c, samples] of channels.entries()) {
    for (let i = 0; i < samples.length; i++) {
      if (!Number.isFinite(samples[i])) {
        throw new AudioError(file, `sample ${at + i} of channel ${c}`, "a finite number", samples[i], {
          advice: "convert it with ffmpeg -i IN -c:a pcm_s16le out.wav",
        });
      }
    }
  }
}

/**
 * Mean of the channels, summed in f64.
 * @param channels  [C][n] f32
 * @returns         [n] f32; with one channel, that channel itself
 * @throws AudioError  no channel, or channels of different lengths
 */
export function toMono(channels: readonly Float32Array[], file = "audio"): Float32Array {
  if (channels.length === 0) throw new AudioError(file, "channels", "1 or more", 0);
  const length = channels[0].length;
  for (const [c, samples] of channels.entries()) {
    if (samples.length !== length) {
      throw new AudioError(file, `channel ${c}`, `${length} samples long, as channel 0`, samples.length);
    }
  }
  if (channels.length === 1) return channels[0];
  const mono = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    let sum = 0;
    for (const samples of channels) sum += samples[i];
    mono[i] = sum / channels.length;
  }
  return mono;
}

/** Pieces of a channel, one after another. */
export function concatenated(pieces: readonly Float32Array[]): Float32Array {
  if (pieces.length === 1) return pieces[0];
  const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** The mix cancels where its energy times C² is below this share of the loudest channel's. */
const CANCELLED = 0.1;
/** Mean energy of a sample that counts as silence: the last bit of 16. */
const SILENCE = 1e-9;

/** One channel made of several. */
export interface Mix {
  /** [n] f32 */
  readonly samples: Float32Array;
  /** Why the samples are one channel's; absent: they are the mean. */
  readonly warning?: string;
}

/**
 * Mean of the channels as `toMono` gives it, or the loudest channel where the channels cancel.
 * The mean of C independent channels keeps at least E / C² of the loudest channel's energy E.
 * Channels cancel where less than a tenth of that is left: 16 dB below the loudest of two.
 * Energy is the variance: an offset is no sound.
 * @throws AudioError  as toMono
 */
export function mixDown(channels: readonly Float32Array[], file = "audio"): Mix {
  const samples = toMono(channels, file);
  if (channels.length === 1) return { samples };
  const energies = channels.map((channel) => new Energy().add(channel));
  const loudest = loudestOfCancelled(energies, new Energy().add(samples));
  if (loudest === undefined) return { samples };
  return { samples: channels[loudest], warning: cancelWarning(loudest, channels.length) };
}

/**
 * The loudest channel, where the channels cancel by the rule of `mixDown`.
 * @param energies  of the channels
 * @param mix       of their mean
 */
export function loudestOfCancelled(energies: readonly Energy[], mix: Energy): number | undefined {
  const values = energies.map((energy) => energy.value);
  const loudest = values.indexOf(Math.max(...values));
  const heard = values[loudest] > SILENCE * mix.length;
  const left = mix.value * values.length ** 2;
  return heard && left < CANCELLED * values[loudest] ? loudest : undefined;
}

export function cancelWarning(loudest: number, count: number): string {
  const label = channelLabel(loudest + 1, count);
  return `the channels cancel each other; only ${count === 2 ? `the ${label} one` : `channel ${label}`} is used`;
}

/** Sum of the squared distances from the mean, in f64, of samples that come in blocks. */
export class Energy {
  #sum = 0;
  #squares = 0;
  length = 0;

  add(samples: Float32Array): this {
    let [sum, squares] = [this.#sum, this.#squares];
    for (let i = 0; i < samples.length; i++) {
      sum += samples[i];
      squares += samples[i] * samples[i];
    }
    [this.#sum, this.#squares] = [sum, squares];
    this.length += samples.length;
    return this;
  }

  get value(): number {
    return Math.max(0, this.#squares - (this.#sum * this.#sum) / Math.max(1, this.length));
  }
}

/** A channel's name, counted from 1: left and right of two, else its number. */
export function channelLabel(channel: number, count: number): string {
  return count === 2 ? ["left", "right"][channel - 1] : String(channel);
}
