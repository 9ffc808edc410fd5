/** Log-probabilities of a clip's frames: the blank's column and those of the tokens in its text. */
export interface Emissions {
  /** [T, columns], row-major, natural logs. Sums have its precision. */
  readonly data: Float32Array | Float64Array;
  readonly frames: number;
  readonly columns: number;
  /** The blank's column. */
  readonly blank: number;
}

/** Largest product of frames and states: a minute of work. */
const mostCells = 2 ** 33;

/**
 * Frames that a sequence of tokens needs: one each, and a blank between two equal neighbours.
 * @param targets  column of each token
 */
export function leastFrames(targets: ArrayLike<number>): number {
  let count = targets.length;
  for (let i = 1; i < targets.length; i++) if (targets[i] === targets[i - 1]) count++;
  return count;
}

/**
 * The most probable CTC path through all tokens in order.
 * @param targets  column of each token
 * @returns        [T] index of the token of each frame, -1 for the blank; undefined where the
 *                 frames are too few, or more than memory and time allow
 * @source torchaudio.functional.forced_align, whose choice between equal paths this repeats: of
 *   staying, coming from the neighbour and skipping a blank, the one that is larger than both
 *   others, else staying
 */
export function viterbi(emissions: Emissions, targets: ArrayLike<number>): Int32Array | undefined {
  const { frames } = emissions;
  const states = 2 * targets.length + 1;
  if (frames < leastFrames(targets) || frames === 0 || frames * states > mostCells) return undefined;
  const trellis = new Trellis(emissions, targets);
  const block = Math.ceil(Math.sqrt(frames));
  const saved = [trellis.first()];
  for (let from = 0; from + block < frames; from += block)
    saved.push(trellis.advance(saved.at(-1)!, from + 1, from + block + 1));
  const path = new Int32Array(frames);
  const moves = new Uint8Array(block * states);
  let state = -1;
  for (let from = (saved.length - 1) * block; from >= 0; from -= block) {
    const end = Math.min(from + block, frames - 1);
    const last = trellis.advance(saved[from / block], from + 1, end + 1, moves);
    if (state < 0) state = last[states - 1] > last[states - 2] ? states - 1 : Math.max(0, states - 2);
    for (let t = end; t > from; t--) {
      path[t] = state;
      state -= moves[(t - from - 1) * states + state];
    }
    path[from] = state;
  }
  return path.map((s) => (s % 2 === 0 ? -1 : s >> 1));
}

/** The scores of every state, frame by frame. Blanks are the even states. */
class Trellis {
  readonly #states: number;
  readonly #column: Int32Array;
  /** Whether a state may be reached from the token before it, without a blank. */
  readonly #skips: Uint8Array;
  /** The states that can be reached, and from which the end can: [begin, end) of each frame. */
  readonly #begin: Int32Array;
  readonly #end: Int32Array;

  constructor(
    private readonly emissions: Emissions,
    targets: ArrayLike<number>,
  ) {
    const count = targets.length;
    this.#states = 2 * count + 1;
    this.#column = Int32Array.from({ length: this.#states }, (_, i) =>
      i % 2 === 0 ? emissions.blank : targets[i >> 1],
    );
    this.#skips = Uint8Array.from({ length: this.#states }, (_, i) =>
      i % 2 === 1 && i > 1 && targets[i >> 1] !== targets[(i >> 1) - 1] ? 1 : 0,
    );
    [this.#begin, this.#end] = bounds(emissions.frames, targets);
  }

  /** Scores at frame 0. */
  first(): Float32Array | Float64Array {
    const scores = this.#empty();
    for (let i = this.#begin[0]; i < this.#end[0]; i++) scores[i] = this.emissions.data[this.#column[i]];
    return scores;
  }

  /**
   * Scores at frame `end - 1`, from those at frame `begin - 1`.
   * @param moves  [end - begin, states] receives how far back each state's predecessor is
   */
  advance(
    from: Float32Array | Float64Array,
    begin: number,
    end: number,
    moves?: Uint8Array,
  ): Float32Array | Float64Array {
    let before = from;
    for (let t = begin; t < end; t++) {
      const scores = this.#empty();
      this.#step(before, scores, t, moves?.subarray((t - begin) * this.#states));
      before = scores;
    }
    return before;
  }

  #step(
    before: Float32Array | Float64Array,
    scores: Float32Array | Float64Array,
    t: number,
    moves: Uint8Array | undefined,
  ): void {
    const { data, columns } = this.emissions;
    const row = t * columns;
    for (let i = this.#begin[t]; i < this.#end[t]; i++) {
      const stay = before[i];
      const next = i > 0 ? before[i - 1] : -Infinity;
      const skip = this.#skips[i] === 1 ? before[i - 2] : -Infinity;
      let best = stay;
      let move = 0;
      if (skip > next && skip > stay) [best, move] = [skip, 2];
      else if (next > stay && next > skip) [best, move] = [next, 1];
      scores[i] = best + data[row + this.#column[i]];
      if (moves) moves[i] = move;
    }
  }

  #empty(): Float32Array | Float64Array {
    const { data } = this.emissions;
    const scores =
      data instanceof Float32Array ? new Float32Array(this.#states) : new Float64Array(this.#states);
    return scores.fill(-Infinity);
  }
}

/** For each frame the first state that can still reach the end, and the one behind the last reached. */
function bounds(frames: number, targets: ArrayLike<number>): [begin: Int32Array, end: Int32Array] {
  const count = targets.length;
  const least = leastFrames(targets);
  const begins = new Int32Array(frames);
  const ends = new Int32Array(frames);
  let begin = frames > least || count === 0 ? 0 : 1;
  let end = count === 0 ? 1 : 2;
  for (let t = 0; t < frames; t++) {
    if (t > 0 && frames - t <= least) {
      const token = begin >> 1;
      if (begin % 2 === 1 && token + 1 < count && targets[token] !== targets[token + 1]) begin++;
      begin++;
    }
    if (t > 0 && t <= least) {
      const token = end >> 1;
      if (end % 2 === 0 && end < 2 * count && targets[token - 1] !== targets[token]) end++;
      end++;
    }
    begins[t] = begin;
    ends[t] = Math.min(end, 2 * count + 1);
  }
  return [begins, ends];
}
