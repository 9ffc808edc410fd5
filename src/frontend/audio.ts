import { AudioError, convertIt } from "./errors.js";

/** Lowest and highest sample rate that is taken as real, in Hz. */
export const MIN_SAMPLE_RATE = 4_000;
export const MAX_SAMPLE_RATE = 768_000;

/** Samples of one file: channels [C][n] f32, nominal range [-1, 1], all of one length; sampleRate in Hz. */
export interface DecodedAudio {
  readonly channels: Float32Array[];
  readonly sampleRate: number;
  /** What a damaged file lost: it was cut short, or frames were skipped. Absent: nothing that can be detected. */
  readonly damage?: string;
}

/** @throws AudioError  `rate` is no whole sample rate between 4,000 and 768,000 Hz */
export function checkSampleRate(file: string, field: string, rate: number): void {
  if (!(Number.isInteger(rate) && rate >= MIN_SAMPLE_RATE && rate <= MAX_SAMPLE_RATE)) {
    throw new AudioError(file, field, `${MIN_SAMPLE_RATE}..${MAX_SAMPLE_RATE} whole Hz`, rate, convertIt);
  }
}

/** @throws AudioError  a sample is NaN or infinite; the message names channel and index of the first */
export function checkFinite(file: string, channels: readonly Float32Array[]): void {
  for (const [c, samples] of channels.entries()) {
    for (let i = 0; i < samples.length; i++) {
      if (!Number.isFinite(samples[i])) {
        throw new AudioError(file, `sample ${i} of channel ${c}`, "a finite number", samples[i], {
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

/** The mix cancels where its energy, times the channels squared, is below this share of the loudest channel's. */
const CANCELLED = 0.1;
/** Energy of a sample, in the mean, that counts as no sound: of the last bit of 16. */
const SILENCE = 1e-9;

/** One channel made of several. */
export interface Mix {
  /** [n] f32 */
  readonly samples: Float32Array;
  /** Why the samples are one channel's and no mean; absent: they are the mean. */
  readonly warning?: string;
}

/**
 * Mean of the channels as `toMono` gives it, or the loudest channel where the channels cancel each other. Channels that have
 * nothing in common leave at least E / C² of the loudest channel's energy E in the mean of C channels; they cancel where less
 * than a tenth of that is left: 16 dB below the loudest of two channels. Energy is the variance: an offset is no sound.
 * @throws AudioError  as toMono
 */
export function mixDown(channels: readonly Float32Array[], file = "audio"): Mix {
  const samples = toMono(channels, file);
  if (channels.length === 1) return { samples };
  const energies = channels.map(energy);
  const loudest = energies.indexOf(Math.max(...energies));
  const left = energy(samples) * channels.length ** 2;
  const heard = energies[loudest] > SILENCE * samples.length;
  if (!heard || left >= CANCELLED * energies[loudest]) return { samples };
  const label = channelLabel(loudest + 1, channels.length);
  const used = channels.length === 2 ? `the ${label} one` : `channel ${label}`;
  const warning = `the channels cancel each other; only ${used} is used`;
  return { samples: channels[loudest], warning };
}

/** Sum of the squared distances from the mean, in f64. */
function energy(samples: Float32Array): number {
  let [sum, squares] = [0, 0];
  for (let i = 0; i < samples.length; i++) {
    sum += samples[i];
    squares += samples[i] * samples[i];
  }
  return Math.max(0, squares - (sum * sum) / Math.max(1, samples.length));
}

/** A channel's name, counted from 1: left and right of two, else its number. */
export function channelLabel(channel: number, count: number): string {
  return count === 2 ? ["left", "right"][channel - 1] : String(channel);
}
