import { checkSampleRate, mixDown, type DecodedAudio, type Mix } from "./audio.js";
import type { FrontendConfig } from "./config.js";
import { fbank, type Features } from "./fbank.js";
import { lowFrameRate } from "./lfr.js";
import { resample } from "./resample.js";

/**
 * The encoder's input: log-mel filterbank, stacked to the low frame rate. Deterministic, also with
 * dither (seeded).
 * @param samples  [n] f32, mono, at the config's rate (16 kHz), range [-1, 1]
 * @param name     the clip's name, for errors
 * @returns        [T, 560] f32; T = ceil((1 + floor((n - 400) / 160)) / 6)
 * @throws AudioError  fewer than 400 samples (25 ms), or a sample that is NaN or infinite
 */
export function extractFeatures(samples: Float32Array, config: FrontendConfig, name = "audio"): Features {
  return lowFrameRate(fbank(samples, config, name), config.lfrStack, config.lfrStride);
}

/**
 * One channel at the front-end's rate, from any channel count and rate: the mean, or the loudest
 * channel where the channels cancel each other (see `mixDown`).
 * @param audio  channels [C][n]
 * @param rate   wanted rate, Hz
 * @returns      [ceil(rate * n / audio.sampleRate)] f32
 * @throws AudioError  channels of different lengths, a rate that is no whole number in
 *                     4,000..768,000 Hz
 */
export function toWaveform(audio: DecodedAudio, rate: number, name = "audio"): Float32Array {
  return mixWaveform(audio, rate, name).samples;
}

/** `toWaveform`, with its warning where the channels cancel each other. */
export function mixWaveform(audio: DecodedAudio, rate: number, name = "audio"): Mix {
  checkSampleRate(name, "sample rate", audio.sampleRate);
  const { samples, ...warning } = mixDown(audio.channels, name);
  return { samples: resample(samples, audio.sampleRate, rate), ...warning };
}
