import type { Gpu } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import { type Tiles, makeTiles } from "../kernels/attention/segments.js";
import { pageRows } from "../kernels/attention/variants.js";
import { grow } from "../gpu/grow.js";
import { keepAll } from "../gpu/keep-all.js";
import { Program } from "../gpu/recorder.js";
import type { Tensor } from "../gpu/tensor.js";
import { ropeAngles } from "../kernels/rope/rope.js";
import type { LlmConfig } from "../config/model-config.js";
import { PageTable } from "./kv-pages.js";

/**
 * Where the packed rows of one step stand: their positions, their cache rows, what each may see.
 */
export interface LlmRows {
  readonly count: number;
  /** [rows, headDim / 2, 2] f32 */
  readonly angles: Tensor;
  /** [rows, 2] u32, step row and row of the pool where its key and value go */
  readonly slots: Tensor;
  /** [rows, 2] u32, first cache row that the row sees and one past the last */
  readonly ranges: Tensor;
  /** Where the pages of the cache rows lie in the pool. Absent: the step holds whole sequences. */
  readonly pages?: Tensor;
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

/**
 * Adds a row at a position of the sequence whose first cache row is `start`.
 * @param slot  where its key and value go
 */
function place(
  { positions, slots, ranges }: Placed,
  { start, position, slot = start + position }: { start: number; position: number; slot?: number },
): void {
  slots.push(positions.length, slot);
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

/** A step of one token of some sequences. */
export interface TokenStep {
  /** The same tensors each time for a number of rows. */
  readonly rows: LlmRows;
  /** Its recording, made anew after the cache has grown. */
  readonly program: Program;
}

/** Which recording a step of one token shares with others of as many rows. */
export interface StepKind {
  /** Of what is computed from the rows. Default: the empty one. */
  readonly name?: string;
  /** Tokens that no sequence of the step passes. Default: the cache's `longest`. */
  readonly longest?: number;
}

/**
 * Keys and values of sequences that come and go. A sequence has pages of 32 rows in a pool, as many
 * as its tokens take. Without a free page the pool grows by half, into new buffers.
 */
export class KvCache {
  readonly #keys: Tensor[];
  readonly #values: Tensor[];
  readonly #table: PageTable;
  /** The table's entries, on the GPU. */
  readonly #pages: Tensor;
  readonly #steps = new Map<string, TokenStep>(); // by kind and rows
  #changed = true; // the table, since it was written

  /**
   * @param room     for each sequence that the cache may hold, tokens that the pool has room for
   *                 from the start
   * @param longest  tokens that each sequence may reach
   * @param most     pages that the pool grows to, unless one that is needed is missing
   */
  constructor(
    private readonly gpu: Gpu,
    private readonly config: LlmConfig,
    room: readonly number[],
    private readonly longest = Math.max(...room),
    private readonly most = Infinity,
  ) {
    if (longest > config.maxPositions) {
      throw new GpuError(
        `a sequence of ${longest} tokens passes the model's ${config.maxPositions} positions`,
      );
    }
    this.#table = new PageTable(room.length, longest);
    this.#table.extend(PageTable.pages(room));
    const layers = Array.from({ length: 2 * config.layers }, () => [this.#shape, "f32"] as const);
    const kept = keepAll(gpu, [[[this.#table.entries.length], "u32"], ...layers]);
    this.#pages = kept[0];
    this.#keys = kept.slice(1, 1 + config.layers);
    this.#values = kept.slice(1 + config.layers);
  }

  /** Tokens that each sequence holds. */
  get lengths(): readonly number[] {
    return this.#table.lengths;
  }

  /** Pages of the pool, and those that no sequence has. */
  get pages(): { readonly all: number; readonly free: number } {
    const { pages: all, free } = this.#table;
    return { all, free };
  }

  /** A layer's keys and values, [rows of the pool, kvHeads · headDim] f32. */
  layer(i: number): { readonly keys: Tensor; readonly values: Tensor } {
    const shape = this.#shape;
    const view = (tensor: Tensor): Tensor => ({ ...tensor, shape, bytes: 4 * shape[0] * shape[1] });
    return { keys: view(this.#keys[i]), values: view(this.#values[i]) };
  }

  /**
   * Makes room for `counts[i]` more tokens of sequence i in the running step, which may call it
   * once.
   * @throws GpuError  a sequence would pass `longest`
   */
  append(counts: readonly number[]): LlmRows {
    this.#makeRoom(counts);
    const placed: Placed = { positions: [], slots: [], ranges: [] };
    for (const [sequence, count] of counts.entries())
      for (let i = 0; i < count; i++) this.#place(placed, sequence);
    this.#writeTable();
    const runs = counts.filter((n) => n > 0);
    const rows = uploadRows(this.gpu, this.config, placed, { runs, longest: this.longest });
    return { ...rows, pages: this.#pages };
  }

  /**
   * Makes room for one more token of some sequences in the next step.
   * @param sequences  of each row of the step. Undefined: nobody wants the row, which keeps the
   *                   step's shapes as they are; it sees itself alone. Default: all, in order
   * @throws GpuError  a sequence would pass `longest`
   */
  advance(
    sequences: readonly (number | undefined)[] = [...this.lengths.keys()],
    kind: StepKind = {},
  ): TokenStep {
    this.#makeRoom(this.lengths.map((_, i) => (sequences.includes(i) ? 1 : 0)));
    const step = this.#step(sequences.length, kind);
    const placed: Placed = { positions: [], slots: [], ranges: [] };
    for (const [row, sequence] of sequences.entries()) {
      if (sequence !== undefined) this.#place(placed, sequence);
      else {
        const start = this.#table.spare(row);
        place(placed, { start, position: 0, slot: this.#table.place(start) });
      }
    }
    this.#writeTable();
    const { headDim, ropeTheta, ropeScaling } = this.config;
    const { angles, slots, ranges } = step.rows;
    this.gpu.write(angles, ropeAngles(placed.positions, headDim, ropeTheta, ropeScaling));
    this.gpu.write(slots, new Uint32Array(placed.slots));
    this.gpu.write(ranges, new Uint32Array(placed.ranges));
    return step;
  }

  /** Takes a sequence out: its pages are free, and its number serves another one. */
  remove(sequence: number): void {
    this.#table.clear(sequence);
  }

  free(): void {
    for (const tensor of [...this.#keys, ...this.#values, this.#pages]) this.gpu.free(tensor);
    for (const { rows } of this.#steps.values())
      for (const tensor of [rows.angles, rows.slots, rows.ranges, rows.tiles.table]) this.gpu.free(tensor);
  }

  get #shape(): readonly [number, number] {
    return [this.#table.rows, this.config.kvHeads * this.config.headDim];
  }

  /**
   * Grows the pool where free pages do not take so many more tokens in. Where an allocation fails,
   * the tensors that have grown stay so, the table does not count their pages, and a later call
   * grows the others.
   */
  #makeRoom(counts: readonly number[]): void {
    const table = this.#table;
    const missing = table.wanted(counts) - table.free;
    if (missing <= 0) return;
    const { maxStorageBufferBindingSize } = this.gpu.device.limits;
    const most = this.most * pageRows + this.lengths.length;
    const [, width] = this.#shape;
    const pages = table.larger(missing, Math.min(most, maxStorageBufferBindingSize / (4 * width)));
    const rows = table.rowsOf(pages);
    for (const [key, step] of this.#steps) this.#steps.set(key, { rows: step.rows, program: new Program() });
    for (const tensors of [this.#keys, this.#values])
      for (const [i, tensor] of tensors.entries())
        if (tensor.shape[0] < rows) tensors[i] = grow(this.gpu, tensor, [rows, width]);
    table.extend(pages);
    this.#changed = true;
  }

  #place(placed: Placed, sequence: number): void {
    const table = this.#table;
    const position = table.lengths[sequence];
    if (table.add(sequence)) this.#changed = true;
    const start = table.start(sequence);
    place(placed, { start, position, slot: table.place(start + position) });
  }

  #writeTable(): void {
    if (this.#changed) this.gpu.write(this.#pages, this.#table.entries);
    this.#changed = false;
  }

  /** The step of so many rows; what its tensors hold is written before each run. */
  #step(count: number, { name = "", longest = this.longest }: StepKind): TokenStep {
    const { gpu } = this;
    const key = `${name} ${longest} ${count}`;
    let step = this.#steps.get(key);
    if (step) return step;
    const [table, angles, slots, ranges] = keepAll(gpu, [
      [[count, 2], "u32"],
      [[count, this.config.headDim / 2, 2], "f32"],
      [[count, 2], "u32"],
      [[count, 2], "u32"],
    ]);
    gpu.write(
      table,
      Uint32Array.from({ length: 2 * count }, (_, i) => (i + 1) >> 1),
    ); // rows [i, i + 1)
    const rows: LlmRows = {
      count,
      angles,
      slots,
      ranges,
      pages: this.#pages,
      tiles: { rows: 1, table },
      longest,
    };
    this.#steps.set(key, (step = { rows, program: new Program() }));
    return step;
  }
}
