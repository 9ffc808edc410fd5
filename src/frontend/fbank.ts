import type { FrontendConfig, WindowName } from "./config.js";
import { AudioError } from "./errors.js";
import { PowerSpectrum } from "./fft.js";
import { gaussianNoise } from "./noise.js";

const PREEMPHASIS = 0.97;
const LOW_FREQUENCY = 20; // Hz; the highest is half the sampling rate
const FLT_EPSILON = 2 ** -23; // 1.1920929e-07, below which an energy is taken as this
const POVEY_EXPONENT = 0.85;

const WINDOW_VALUES: Readonly<Record<WindowName, (phase: number) => number>> = {
  hamming: (phase) => 0.54 - 0.46 * Math.cos(phase),
  hanning: (phase) => 0.5 - 0.5 * Math.cos(phase),
  povey: (phase) => (0.5 - 0.5 * Math.cos(phase)) ** POVEY_EXPONENT,
};

/** One mel triangle: weights of the spectrum's bins first, first + 1 ... */
interface MelBin {
  readonly first: number;
  readonly weights: Float64Array;
}

/** Features before and after stacking: data [frames, width] f32, row by row. */
export interface Features {
  readonly data: Float32Array;
  readonly frames: number;
  readonly width: number;
}

/**
 * Log-mel filterbank energies of one utterance: per frame scale, dither, mean removal, pre-emphasis
 * 0.97 (the first sample is its own predecessor), window, power spectrum, mel triangles,
 * ln(max(energy, 2^-23)). All in f64, rounded once.
 * @param samples  [n] f32, mono, at the config's rate, range [-1, 1]
 * @returns        [frames, 80] f32, natural log; frames = 1 + floor((n - 400) / 160) at 16 kHz, 25
 *                 ms and 10 ms
 * @throws AudioError  fewer samples than one frame has (400), or a sample that is NaN or infinite
 * @source Kaldi compute-fbank-feats with snip-edges, as FunASR WavFrontend and
 *         torchaudio.compliance.kaldi.fbank call it
 */
export function fbank(samples: Float32Array, config: FrontendConfig, name = "audio"): Features {
  const length = Math.trunc((config.samplingRate * config.frameLength) / 1000);
  const shift = Math.trunc((config.samplingRate * config.frameShift) / 1000);
  if (samples.length < length) {
    throw new AudioError(
      name,
      "audio",
      `at least ${length} samples (${config.frameLength} ms)`,
      samples.length,
    );
  }
  const frames = 1 + Math.floor((samples.length - length) / shift);
  const spectrum = new PowerSpectrum(Math.max(4, 2 ** Math.ceil(Math.log2(length))));
  const mels = melBins(config.melBins, spectrum.size, config.samplingRate);
  const window = windowValues(config.window, length);
  const noise = config.dither > 0 ? gaussianNoise(config.ditherSeed) : undefined;
  const frame = new Float64Array(spectrum.size);
  const power = new Float64Array(spectrum.size / 2 + 1);
  const data = new Float32Array(frames * mels.length);
  for (let f = 0, at = 0; f < frames; f++) {
    for (let i = 0; i < length; i++) {
      const x = samples[f * shift + i];
      if (!Number.isFinite(x)) throw new AudioError(name, `sample ${f * shift + i}`, "a finite number", x);
      frame[i] = x * config.waveformScale + (noise ? noise() * config.dither : 0);
    }
    shapeFrame(frame, window);
    spectrum.compute(frame, power);
    for (const mel of mels) data[at++] = Math.log(Math.max(melEnergy(mel, power), FLT_EPSILON));
  }
  return { data, frames, width: mels.length };
}

/** Mean removal, pre-emphasis and window in place; entries past the window's length stay 0. */
function shapeFrame(frame: Float64Array, window: Float64Array): void {
  let sum = 0;
  for (let i = 0; i < window.length; i++) sum += frame[i];
  const mean = sum / window.length;
  for (let i = 0; i < window.length; i++) frame[i] -= mean;
  for (let i = window.length - 1; i >= 0; i--) {
    frame[i] = (frame[i] - PREEMPHASIS * frame[Math.max(i - 1, 0)]) * window[i];
  }
}

function windowValues(name: WindowName, length: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => WINDOW_VALUES[name]((2 * Math.PI * i) / (length - 1)));
}

function melEnergy({ first, weights }: MelBin, power: Float64Array): number {
  let energy = 0;
  for (let i = 0; i < weights.length; i++) energy += weights[i] * power[first + i];
  return energy;
}

/**
 * Triangles of equal width on the mel axis, from 20 Hz to half the rate, linear in mel, each
 * reaching to its neighbours' centres.
 */
function melBins(count: number, size: number, rate: number): MelBin[] {
  const low = mel(LOW_FREQUENCY);
  const step = (mel(rate / 2) - low) / (count + 1);
  return Array.from({ length: count }, (_, b) => {
    const left = low + b * step;
    const weight = (bin: number): number => {
      const m = mel((bin * rate) / size);
      return Math.max(0, Math.min((m - left) / step, (left + 2 * step - m) / step));
    };
    const bins = Array.from({ length: size / 2 }, (_, bin) => bin).filter((bin) => weight(bin) > 0);
    return { first: bins[0] ?? 0, weights: Float64Array.from(bins, weight) };
  });
}

function mel(frequency: number): number {
  return 1127 * Math.log(1 + frequency / 700);
}
