import type { Gpu } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import { type Tiles, makeTiles } from "../kernels/attention/segments.js";
import { type Tensor, tensorsIn } from "../gpu/tensor.js";
import { ropeAngles } from "../kernels/rope/rope.js";
import type { LlmConfig } from "../config/model-config.js";

/**
 * Where the packed rows of one step stand: their positions, their cache rows, what each may see.
 */
export interface LlmRows {
  readonly count: number;
  /** [rows, headDim / 2, 2] f32 */
  readonly angles: Tensor;
  /** [rows, 2] u32, step row and cache row */
  readonly slots: Tensor;
  /** [rows, 2] u32, first cache row that the row sees and one past the last */
  readonly ranges: Tensor;
  readonly tiles: Tiles;
  /** Cache rows that a row of this or a later step may see. */
  readonly longest: number;
}

/**
 * Rows of a step that holds whole sequences, for which no cache is needed: each row sees its
 * sequence up to itself.
 */
export function wholeSequences(gpu: Gpu, config: LlmConfig, lengths: readonly number[]): LlmRows {
  const placed: Placed = { positions: [], slots: [], ranges: [] };
  for (const length of lengths) {
    const start = placed.positions.length;
    for (let i = 0; i < length; i++) place(placed, { start, position: i });
  }
  return uploadRows(gpu, config, placed, { runs: lengths, longest: Math.max(...lengths) });
}

interface Placed {
  readonly positions: number[];
  readonly slots: number[];
  readonly ranges: number[];
}

/** Adds a row at a position of the sequence whose first cache row is `start`. */
function place(
  { positions, slots, ranges }: Placed,
  { start, position }: { readonly start: number; readonly position: number },
): void {
  slots.push(positions.length, start + position);
  ranges.push(start, start + position + 1);
  positions.push(position);
}

function uploadRows(
  gpu: Gpu,
  { headDim, ropeTheta, ropeScaling }: LlmConfig,
  { positions, slots, ranges }: Placed,
  { runs, longest }: { readonly runs: readonly number[]; readonly longest: number },
): LlmRows {
  const count = positions.length;
  const angles = ropeAngles(positions, headDim, ropeTheta, ropeScaling);
  return {
    count,
    angles: gpu.upload(angles, [count, headDim / 2, 2]),
    slots: gpu.upload(new Uint32Array(slots), [count, 2]),
    ranges: gpu.upload(new Uint32Array(ranges), [count, 2]),
    tiles: makeTiles(gpu, runs),
    longest,
  };
}

/** Keys and values of a batch of sequences, one region of rows a sequence, sized to the request. */
export class KvCache {
  /** A layer each: [Σ capacity, kvHeads · headDim] f32 */
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
  readonly #starts: number[] = [];
  readonly #lengths: number[];
  #single?: LlmRows;

  /** @param capacities  tokens that each sequence may reach */
  constructor(
    private readonly gpu: Gpu,
    private readonly config: LlmConfig,
    private readonly capacities: readonly number[],
  ) {
    let rows = 0;
    for (const capacity of capacities) {
      if (capacity > config.maxPositions) {
        throw new GpuError(
          `a sequence of ${capacity} tokens passes the model's ${config.maxPositions} positions`,
        );
      }
      this.#starts.push(rows);
      rows += capacity;
    }
    this.#lengths = capacities.map(() => 0);
    const keep = (): Tensor[] =>
      Array.from({ length: config.layers }, () => gpu.keep([rows, config.kvHeads * config.headDim], "f32"));
    this.keys = keep();
    this.values = keep();
  }

  /** Tokens that each sequence holds. */
  get lengths(): readonly number[] {
    return this.#lengths;
  }

  /** A layer's keys and values. */
  layer(i: number): { readonly keys: Tensor; readonly values: Tensor } {
    return { keys: this.keys[i], values: this.values[i] };
  }

  /**
   * Makes room for `counts[i]` more tokens of sequence i in the running step.
   * @throws GpuError  the cache is full
   */
  append(counts: readonly number[]): LlmRows {
    const runs = counts.filter((n) => n > 0);
    const longest = Math.max(...this.capacities);
    return uploadRows(this.gpu, this.config, this.#place(counts, []), { runs, longest });
  }

  /**
   * Makes room for one more token of every sequence in the next step. Its rows stand in the same
   * kept tensors each time, so the step can be a Program.
   * @param ended  sequences that have their answer: they keep their row in the step, which rewrites
   *               their last slot, so that they never outgrow their capacity and the step's shapes
   *               stay the same
   * @throws GpuError  the cache is full
   */
  advance(ended: readonly boolean[] = []): LlmRows {
    const one = this.capacities.map(() => 1);
    const { positions, slots, ranges } = this.#place(one, ended);
    const { headDim, ropeTheta, ropeScaling } = this.config;
    const rows = (this.#single ??= this.#keepSingle());
    this.gpu.write(rows.angles, ropeAngles(positions, headDim, ropeTheta, ropeScaling));
    this.gpu.write(rows.slots, new Uint32Array(slots));
    this.gpu.write(rows.ranges, new Uint32Array(ranges));
    return rows;
  }

  free(): void {
    for (const tensor of [...this.keys, ...this.values]) this.gpu.free(tensor);
    if (this.#single) for (const tensor of tensorsIn(this.#single)) this.gpu.free(tensor);
  }

  /** Rows of one token of every sequence; what they hold is written before each step. */
  #keepSingle(): LlmRows {
    const { gpu } = this;
    const count = this.capacities.length;
    const table = gpu.keep([count, 2], "u32");
    gpu.write(
      table,
      Uint32Array.from({ length: 2 * count }, (_, i) => (i + 1) >> 1),
    ); // rows [i, i + 1)
    return {
      count,
      angles: gpu.keep([count, this.config.headDim / 2, 2], "f32"),
      slots: gpu.keep([count, 2], "u32"),
      ranges: gpu.keep([count, 2], "u32"),
      tiles: { rows: 1, table },
      longest: Math.max(...this.capacities),
    };
  }

  #place(counts: readonly number[], ended: readonly boolean[]): Placed {
    const placed: Placed = { positions: [], slots: [], ranges: [] };
    for (const [sequence, more] of counts.entries()) {
      const start = this.#starts[sequence];
      const length = this.#lengths[sequence] - (ended[sequence] ? more : 0);
      if (length + more > this.capacities[sequence]) {
        throw new GpuError(
          `KV cache: sequence ${sequence} holds ${this.capacities[sequence]} tokens, got ${length + more}`,
        );
      }
      for (let i = 0; i < more; i++) place(placed, { start, position: length + i });
      this.#lengths[sequence] = length + more;
    }
    return placed;
  }
}
