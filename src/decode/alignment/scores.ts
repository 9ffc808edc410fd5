import type { CtcConfig } from "../../config/ctc-config.js";
import type { Emissions } from "./viterbi.js";

/** What an alignment needs of a clip's logits [T, V]: the columns of its tokens, and the best of each frame. */
export class Scores {
  readonly emissions: Emissions;
  readonly #best: Int32Array;
  readonly #ids: readonly number[];
  readonly #columns: ReadonlyMap<number, number>;
  #filled = 0;

  /** @param ids  the text's tokens */
  constructor(
    private readonly config: Pick<CtcConfig, "vocabSize" | "blankId">,
    frames: number,
    ids: readonly number[],
  ) {
    this.#ids = [...new Set([config.blankId, ...ids])];
    this.#columns = new Map(this.#ids.map((id, column) => [id, column]));
    const columns = this.#ids.length;
    this.emissions = { data: new Float32Array(frames * columns), frames, columns, blank: 0 };
    this.#best = new Int32Array(frames);
  }

  /** The column of a token of the text. */
  column(id: number): number {
    return this.#columns.get(id)!;
  }

  /**
   * Adds the next rows of logits, as log-probabilities. The largest is taken off before exp, and
   * the sum is f64: 60,000 small terms of f32 would lose their ends.
   */
  add(logits: Float32Array): void {
    const { vocabSize } = this.config;
    const { data, columns } = this.emissions;
    for (let at = 0; at < logits.length; at += vocabSize, this.#filled++) {
      let best = 0;
      for (let i = 1; i < vocabSize; i++) if (logits[at + i] > logits[at + best]) best = i;
      const largest = logits[at + best];
      let sum = 0;
      for (let i = 0; i < vocabSize; i++) sum += Math.exp(logits[at + i] - largest);
      const total = largest + Math.log(sum);
      this.#ids.forEach((id, column) => (data[this.#filled * columns + column] = logits[at + id] - total));
      this.#best[this.#filled] = best;
    }
  }

  /** Ids of the clip's most probable path: repeats joined, blanks left out. */
  get greedy(): number[] {
    const { blankId } = this.config;
    return Array.from(this.#best).filter((id, t, all) => id !== blankId && id !== all[t - 1]);
  }
}
