/** The newest samples of a recording; what is not needed any more is dropped. */
export class AudioWindow {
  readonly #pieces: Float32Array[] = [];
  /** Of the recording, where `#pieces` begin and end. */
  #begin = 0;
  #end = 0;

  /** Samples of the recording so far. */
  get length(): number {
    return this.#end;
  }

  push(samples: Float32Array): void {
    if (samples.length === 0) return;
    this.#pieces.push(samples);
    this.#end += samples.length;
  }

  /** A copy of samples [from, to) as far as they are there. */
  slice(from: number, to: number): Float32Array {
    const begin = Math.max(from, this.#begin);
    const part = new Float32Array(Math.max(0, Math.min(to, this.#end) - begin));
    let at = this.#begin;
    for (const piece of this.#pieces) {
      const [first, last] = [Math.max(begin - at, 0), Math.min(to - at, piece.length)];
      if (first < last) part.set(piece.subarray(first, last), at + first - begin);
      at += piece.length;
    }
    return part;
  }

  /** Drops whole pieces before a sample. */
  drop(before: number): void {
    let count = 0;
    while (count < this.#pieces.length && this.#begin + this.#pieces[count].length <= before)
      this.#begin += this.#pieces[count++].length;
    this.#pieces.splice(0, count);
  }
}
