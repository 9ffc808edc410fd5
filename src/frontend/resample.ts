import { checkSampleRate } from "./audio.js";

const LOWPASS_FILTER_WIDTH = 6;
const ROLLOFF = 0.99;
const CACHED_KERNELS = 8;

/**
 * Taps of one output phase: y[m * to + phase] = sum over j of weights[j] * x[m * from + first + j].
 */
interface Phase {
  readonly first: number;
  readonly weights: Float64Array;
}

interface Kernel {
  readonly from: number; // after division by the greatest common divisor
  readonly to: number;
  readonly phases: Phase[]; // filled on demand: a short clip needs few
}

const kernels = new Map<string, Kernel>();

/**
 * Band-limited resampling by a windowed sinc: torchaudio.functional.resample with its defaults
 * (sinc_interp_hann, lowpass_filter_width 6, rolloff 0.99), kernel and sums in f64.
 * @param samples  [n] f32
 * @param from     rate of `samples`, Hz
 * @param to       wanted rate, Hz
 * @returns        [ceil(to * n / from)] f32; `samples` itself when the rates are equal
 * @throws AudioError  a rate that is no whole number in 4,000..768,000 Hz
 * @source torchaudio.functional.resample, after J. O. Smith, "Digital Audio Resampling"
 */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  checkSampleRate("resample", "from", from);
  checkSampleRate("resample", "to", to);
  if (from === to) return samples;
  const kernel = kernelFor(from, to);
  const output = new Float32Array(Math.ceil((kernel.to * samples.length) / kernel.from));
  for (let p = 0; p < Math.min(kernel.to, output.length); p++) {
    const { first, weights } = (kernel.phases[p] ??= makePhase(p, kernel.from, kernel.to));
    for (let o = p, at = first; o < output.length; o += kernel.to, at += kernel.from) {
      const begin = Math.max(0, -at);
      const end = Math.min(weights.length, samples.length - at);
      let sum = 0;
      for (let j = begin; j < end; j++) sum += weights[j] * samples[at + j];
      output[o] = sum;
    }
  }
  return output;
}

/** `resample` for samples that come in blocks: the same bits, and memory for a block. */
export class Resampler {
  readonly #kernel: Kernel;
  /** Input from sample `#begin` on. */
  #input: Float32Array = new Float32Array(0);
  #begin = 0;
  #made = 0;

  /** @throws AudioError  as `resample` */
  constructor(
    private readonly from: number,
    private readonly to: number,
  ) {
    checkSampleRate("resample", "from", from);
    checkSampleRate("resample", "to", to);
    this.#kernel = kernelFor(from, to);
  }

  /** @returns the output that no later block changes; `block` itself when the rates are equal */
  push(block: Float32Array): Float32Array {
    if (this.from === this.to) return block;
    const input = new Float32Array(this.#input.length + block.length);
    input.set(this.#input);
    input.set(block, this.#input.length);
    this.#input = input;
    const { from, to } = this.#kernel;
    const room = Math.ceil(((this.#begin + input.length) * to) / from) - this.#made;
    return this.#make(Math.max(0, room), false);
  }

  /** @returns the rest of the output */
  end(): Float32Array {
    if (this.from === this.to) return new Float32Array(0);
    const { from, to } = this.#kernel;
    return this.#make(Math.ceil((to * (this.#begin + this.#input.length)) / from) - this.#made, true);
  }

  #make(most: number, last: boolean): Float32Array {
    const { from, to, phases } = this.#kernel;
    const input = this.#input;
    const output = new Float32Array(most);
    let [done, at] = [0, 0];
    for (; done < most; done++) {
      const phase = this.#made % to;
      const { first, weights } = (phases[phase] ??= makePhase(phase, from, to));
      at = ((this.#made - phase) / to) * from + first - this.#begin;
      if (!last && at + weights.length > input.length) break;
      const begin = Math.max(0, -at);
      const end = Math.min(weights.length, input.length - at);
      let sum = 0;
      for (let j = begin; j < end; j++) sum += weights[j] * input[at + j];
      output[done] = sum;
      this.#made++;
    }
    const used = Math.min(input.length, Math.max(0, at));
    this.#input = input.subarray(used);
    this.#begin += used;
    return output.subarray(0, done);
  }
}

function kernelFor(from: number, to: number): Kernel {
  const key = `${from}:${to}`;
  let kernel = kernels.get(key);
  if (!kernel) {
    const divisor = gcd(from, to);
    kernel = { from: from / divisor, to: to / divisor, phases: [] };
    if (kernels.size === CACHED_KERNELS) kernels.delete(kernels.keys().next().value!);
    kernels.set(key, kernel);
  }
  return kernel;
}

/**
 * Taps within the window of 6 zero crossings either side of the output sample at input position
 * phase * from / to.
 */
function makePhase(phase: number, from: number, to: number): Phase {
  const cutoff = Math.min(from, to) * ROLLOFF;
  const centre = (phase * from) / to;
  const reach = (LOWPASS_FILTER_WIDTH * from) / cutoff;
  const first = Math.ceil(centre - reach);
  const weights = new Float64Array(Math.floor(centre + reach) - first + 1);
  for (let j = 0; j < weights.length; j++) {
    const t = (((first + j) * to - phase * from) / (from * to)) * cutoff; // in zero crossings of the sinc
    const window = Math.cos((t * Math.PI) / LOWPASS_FILTER_WIDTH / 2) ** 2;
    const sinc = t === 0 ? 1 : Math.sin(t * Math.PI) / (t * Math.PI);
    weights[j] = sinc * window * (cutoff / from);
  }
  return { first, weights };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
