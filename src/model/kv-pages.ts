import { GpuError } from "../gpu/errors.js";
import { pageRows } from "../kernels/attention/variants.js";

const pagesFor = (tokens: number): number => Math.ceil(tokens / pageRows);

/**
 * Which pages of a pool hold the tokens of which sequence. Rows count in the order of the table:
 * `perSequence` pages a sequence, whether it has them or not, then the spare rows, one a sequence,
 * which stand behind the pages of the pool.
 */
export class PageTable {
  /** Where each page of the table lies in the pool. */
  readonly entries: Uint32Array<ArrayBuffer>;
  /** Tokens of each sequence. */
  readonly lengths: number[];
  readonly #perSequence: number;
  readonly #free: number[] = [];
  #pages = 0;

  /**
   * @param sequences  how many there may be
   * @param longest    tokens that each may reach
   */
  constructor(
    sequences: number,
    private readonly longest: number,
  ) {
    this.#perSequence = pagesFor(longest);
    this.entries = new Uint32Array(sequences * this.#perSequence + pagesFor(sequences));
    this.lengths = new Array<number>(sequences).fill(0);
  }

  /** Pages that the pool must have for so many tokens of each sequence. */
  static pages(tokens: readonly number[]): number {
    return tokens.reduce((sum, count) => sum + pagesFor(count), 0);
  }

  /** Pages of the pool. */
  get pages(): number {
    return this.#pages;
  }

  /** Pages that no sequence has. */
  get free(): number {
    return this.#free.length;
  }

  /** Rows of the pool, the spare ones with them. */
  get rows(): number {
    return this.rowsOf(this.#pages);
  }

  /** Rows of a pool of so many pages. */
  rowsOf(pages: number): number {
    return pages * pageRows + this.lengths.length;
  }

  /** The pool has so many pages from here on; never fewer. */
  extend(pages: number): void {
    for (let page = pages - 1; page >= this.#pages; page--) this.#free.push(page);
    this.#pages = pages;
    for (let i = 0; i < this.entries.length - this.#used; i++) this.entries[this.#used + i] = pages + i;
  }

  /**
   * Pages of a larger pool: half as many again, but no more than the sequences can use or than
   * `bound` rows hold; in any case `missing` more.
   */
  larger(missing: number, bound: number): number {
    const fitting = Math.floor((bound - this.lengths.length) / pageRows);
    const usual = Math.min(Math.ceil(1.5 * this.#pages), this.#used, fitting);
    return Math.max(this.#pages + missing, usual);
  }

  /**
   * Pages that more tokens take beyond those that the sequences have.
   * @throws GpuError  a sequence would pass `longest`
   */
  wanted(counts: readonly number[]): number {
    return counts.reduce((sum, count, i) => {
      const length = this.lengths[i] + count;
      if (length <= this.longest) return sum + pagesFor(length) - pagesFor(this.lengths[i]);
      throw new GpuError(`KV cache: sequence ${i} holds ${this.longest} tokens, got ${length}`);
    }, 0);
  }

  /** Takes one more token in, and a free page where it begins one. @returns  whether it did */
  add(sequence: number): boolean {
    const position = this.lengths[sequence]++;
    if (position % pageRows > 0) return false;
    this.entries[this.start(sequence) / pageRows + position / pageRows] = this.#free.pop()!;
    return true;
  }

  /** Gives a sequence's pages back. */
  clear(sequence: number): void {
    const first = this.start(sequence) / pageRows;
    for (let i = pagesFor(this.lengths[sequence]) - 1; i >= 0; i--) this.#free.push(this.entries[first + i]);
    this.lengths[sequence] = 0;
  }

  /** Entries of the sequences. */
  get #used(): number {
    return this.lengths.length * this.#perSequence;
  }

  /** Row of a sequence's first token. */
  start(sequence: number): number {
    return sequence * this.#perSequence * pageRows;
  }

  /** The spare row of step row i. */
  spare(i: number): number {
    return this.#used * pageRows + i;
  }

  /** Row of the pool where a row lies. */
  place(row: number): number {
    return this.entries[Math.floor(row / pageRows)] * pageRows + (row % pageRows);
  }
}
