/**
 * Power spectrum of real frames of one fixed length, all in f64: P[k] = |sum over i of x[i] exp(-2
 * pi i k / n)|^2. The n real numbers are transformed as n / 2 complex ones (even samples real, odd
 * samples imaginary), radix 2.
 * @source Press et al., Numerical Recipes, "FFT of single real function"
 */
export class PowerSpectrum {
  readonly #re: Float64Array;
  readonly #im: Float64Array;
  readonly #cos: Float64Array; // cos(2 pi k / n), k < n / 2
  readonly #sin: Float64Array;
  readonly #reversed: Uint32Array;

  /** @param size  frame length, a power of two, 4 or more */
  constructor(readonly size: number) {
    const half = size / 2;
    this.#re = new Float64Array(half);
    this.#im = new Float64Array(half);
    this.#cos = Float64Array.from({ length: half }, (_, k) => Math.cos((2 * Math.PI * k) / size));
    this.#sin = Float64Array.from({ length: half }, (_, k) => Math.sin((2 * Math.PI * k) / size));
    this.#reversed = new Uint32Array(half);
    for (let i = 1; i < half; i++)
      this.#reversed[i] = (this.#reversed[i >> 1] >> 1) | (i & 1 ? half >> 1 : 0);
  }

  /**
   * @param frame  [size] f64
   * @param power  [size / 2 + 1] f64, overwritten
   */
  compute(frame: Float64Array, power: Float64Array): void {
    const half = this.size / 2;
    for (let i = 0; i < half; i++) {
      this.#re[this.#reversed[i]] = frame[2 * i];
      this.#im[this.#reversed[i]] = frame[2 * i + 1];
    }
    this.#transform();
    for (let k = 0; k <= half; k++) {
      const a = k % half;
      const b = (half - k) % half;
      const evenRe = (this.#re[a] + this.#re[b]) / 2;
      const evenIm = (this.#im[a] - this.#im[b]) / 2;
      const oddRe = (this.#im[a] + this.#im[b]) / 2;
      const oddIm = (this.#re[b] - this.#re[a]) / 2;
      const c = k === half ? -1 : this.#cos[k];
      const s = k === half ? 0 : this.#sin[k];
      const re = evenRe + c * oddRe + s * oddIm;
      const im = evenIm + c * oddIm - s * oddRe;
      power[k] = re * re + im * im;
    }
  }

  /** In place over bit-reversed input: butterflies of 2, 4, 8 ... half points. */
  #transform(): void {
    const re = this.#re;
    const im = this.#im;
    const half = this.size / 2;
    for (let span = 1; span < half; span *= 2) {
      const stride = half / span; // twiddle exp(-i pi j / span) is entry j * stride of the table over `size` points
      for (let start = 0; start < half; start += 2 * span) {
        for (let j = 0; j < span; j++) {
          const c = this.#cos[j * stride];
          const s = this.#sin[j * stride];
          const low = start + j;
          const high = low + span;
          const r = c * re[high] + s * im[high];
          const i = c * im[high] - s * re[high];
          re[high] = re[low] - r;
          im[high] = im[low] - i;
          re[low] += r;
          im[low] += i;
        }
      }
    }
  }
}
