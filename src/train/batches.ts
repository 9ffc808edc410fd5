import { uniformNumbers } from "../random.js";
import { TrainError } from "./errors.js";

export interface BatchOptions {
  /** Tokens of one micro-batch at most: prompt, audio and answer of all its clips. */
  readonly budget: number;
  readonly seed: number;
}

/** Batches' worth of clips that are sorted by length together. */
const poolBatches = 32;

/**
 * The micro-batches of one epoch: clips shuffled, sorted by length within pools of 32 batches'
 * worth, cut by the token budget, and the batches shuffled. A function of its arguments alone.
 * @param sizes  tokens of each clip
 * @param epoch  from 0
 * @returns      indices of the clips, each once
 * @throws TrainError  a clip is larger than the budget
 */
export function epochBatches(
  sizes: readonly number[],
  epoch: number,
  { budget, seed }: BatchOptions,
): number[][] {
  const large = sizes.findIndex((size) => size > budget);
  if (large >= 0) {
    throw new TrainError(
      `batches: clip ${large + 1} of the data has ${sizes[large]} tokens, expected at most ${budget}; raise --batch-tokens`,
    );
  }
  const random = uniformNumbers(seed * 65_537 + epoch);
  const order = shuffled(
    sizes.map((_, i) => i),
    random,
  );
  const batches: number[][] = [];
  for (const pool of cut(order, sizes, budget * poolBatches)) {
    pool.sort((a, b) => sizes[a] - sizes[b]); // stable: equal lengths keep the shuffled order
    batches.push(...cut(pool, sizes, budget));
  }
  return shuffled(batches, random);
}

/** Runs of neighbours of at most `budget` tokens together; what is larger stands alone. */
export function cut(order: readonly number[], sizes: readonly number[], budget: number): number[][] {
  const runs: number[][] = [];
  let left = 0;
  for (const i of order) {
    if (sizes[i] > left || runs.length === 0) {
      runs.push([]);
      left = budget;
    }
    runs.at(-1)!.push(i);
    left -= sizes[i];
  }
  return runs;
}

/** Fisher-Yates. */
function shuffled<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}

/**
 * The micro-batches of a run, one after another through the epochs; any of them can be asked for.
 */
export class BatchStream {
  readonly #epochs: { readonly first: number; readonly batches: readonly number[][] }[] = [];

  constructor(
    private readonly sizes: readonly number[],
    private readonly options: BatchOptions,
  ) {
    if (sizes.length === 0) throw new TrainError("batches: expected at least 1 clip to train on, got 0");
  }

  /** @param position  of the micro-batch, from 0, counted through all epochs */
  at(position: number): { readonly epoch: number; readonly clips: readonly number[] } {
    for (;;) {
      const epoch = this.#epochs.findLastIndex(({ first }) => first <= position);
      const found = this.#epochs[epoch];
      if (found && position < found.first + found.batches.length)
        return { epoch, clips: found.batches[position - found.first] };
      this.#add();
    }
  }

  /** Micro-batches of the first `epochs` epochs. */
  count(epochs: number): number {
    while (this.#epochs.length < epochs) this.#add();
    const last = this.#epochs[epochs - 1];
    return last.first + last.batches.length;
  }

  #add(): void {
    const last = this.#epochs.at(-1);
    const first = last ? last.first + last.batches.length : 0;
    this.#epochs.push({ first, batches: epochBatches(this.sizes, this.#epochs.length, this.options) });
  }
}
