import type { Gpu, TensorData } from "../../gpu/device.js";
import { type WordCopy, copyWords } from "../../gpu/copy-words.js";
import { keepAll } from "../../gpu/keep-all.js";
import type { Tensor } from "../../gpu/tensor.js";
import { argmax } from "../../kernels/argmax/argmax.js";
import { embedding } from "../../kernels/embedding/embedding.js";
import type { KvCache } from "../../model/kv-cache.js";
import { type Qwen3, lmHead, qwen3 } from "../../model/qwen3.js";
import { likeliest } from "../sampler.js";
import { processScores } from "../sampling.js";
import type { Row } from "./row.js";

/** A submitted step. */
export interface Flight {
  /** Rows that it has a token for. */
  readonly rows: readonly Row[];
  readonly seen: Promise<TensorData>;
  /** The token of each row. Called once, in the order of the flights. */
  readonly pick: (seen: TensorData) => ArrayLike<number>;
}

const shortest = 512; // tokens: the least bound of the attention's ranges

/**
 * Rows that are decoded together, one token each a step. They lie packed: as rows come and go, the
 * newest tokens of the others move on the device, so that a step can be submitted before the
 * tokens of the one before it are read.
 */
export abstract class Lane {
  protected rows: readonly Row[] = [];
  #joining: Row[] = [];
  /** The newest token of each row. */
  protected readonly ids: Tensor;
  readonly #moved: Tensor; // what a copy within `ids` passes

  constructor(
    protected readonly gpu: Gpu,
    protected readonly llm: Qwen3,
    protected readonly cache: KvCache,
    /** First tokens of rows that join, by their sequence. */
    private readonly first: Tensor,
    private readonly name: string,
  ) {
    [this.ids, this.#moved] = keepAll(gpu, [
      [first.shape, "u32"],
      [first.shape, "u32"],
    ]);
  }

  /** Rows that take part in the next step, as far as is known. */
  get members(): readonly Row[] {
    return [...this.rows, ...this.#joining];
  }

  /** The row takes part from the next step on. */
  join(row: Row): void {
    this.#joining.push(row);
  }

  /** Submits a step of the rows that want a token; undefined where there are none. */
  submit(): Flight | undefined {
    this.#pack();
    const { rows } = this;
    if (rows.length === 0) return undefined;
    const most = Math.max(...rows.map(({ slot }) => this.cache.lengths[slot])) + 1;
    const longest = 2 ** Math.ceil(Math.log2(Math.max(most, shortest)));
    const step = this.cache.advance(
      rows.map(({ slot }) => slot),
      { name: this.name, longest },
    );
    for (const row of rows) row.submitted++;
    const ids = this.view(rows.length);
    const body = (): readonly Tensor[] => {
      const embeds = embedding(this.gpu, ids, this.llm.embedTokens);
      const hidden = qwen3(this.gpu, this.llm, embeds, step.rows, this.cache);
      return [this.record(lmHead(this.gpu, this.llm, hidden), ids)];
    };
    const seen = this.gpu.step(body, step.program).then(([data]) => data);
    seen.catch(() => undefined); // met at its turn
    return { rows, seen, pick: (data) => this.pick(data, rows) };
  }

  free(): void {
    this.gpu.free(this.ids);
    this.gpu.free(this.#moved);
  }

  /** The first tokens of `ids`. */
  protected view(count: number): Tensor {
    return { ...this.ids, shape: [count], bytes: 4 * count };
  }

  /** At the end of a step. @returns  what `pick` gets */
  protected abstract record(logits: Tensor, ids: Tensor): Tensor;

  /** The token of each row. */
  protected abstract pick(seen: TensorData, rows: readonly Row[]): ArrayLike<number>;

  /** Leaves out the rows that want no token, and takes in those that join. */
  #pack(): void {
    const { rows, ids: to } = this;
    for (const row of this.members) if (!row.wanting) row.leave();
    const staying = rows.filter(({ wanting }) => wanting);
    const joining = this.#joining.filter(({ wanting }) => wanting);
    const moved = staying.flatMap((row, at): WordCopy[] => {
      const start = rows.indexOf(row);
      return start === at ? [] : [{ from: this.#moved, start, to, at, count: 1 }];
    });
    if (moved.length > 0) moved.unshift({ from: to, start: 0, to: this.#moved, at: 0, count: rows.length });
    const joined = joining.map(({ slot }, i): WordCopy => ({
      from: this.first,
      start: slot,
      to,
      at: staying.length + i,
      count: 1,
    }));
    copyWords(this.gpu, [...moved, ...joined]);
    this.rows = [...staying, ...joining];
    this.#joining = [];
  }
}

/** Rows whose tokens are found on the device: a step follows the one before it at once. */
export class DeviceLane extends Lane {
  protected record(logits: Tensor, ids: Tensor): Tensor {
    return argmax(this.gpu, logits, ids);
  }

  protected pick(seen: TensorData): ArrayLike<number> {
    return seen;
  }
}

/** Rows with a repetition penalty: their scores are read, and a step waits for the one before it. */
export class HostLane extends Lane {
  #waiting: Promise<TensorData> | undefined;

  override submit(): Flight | undefined {
    if (this.#waiting) return undefined;
    const flight = super.submit();
    this.#waiting = flight?.seen;
    this.#waiting?.catch(() => (this.#waiting = undefined));
    return flight;
  }

  protected record(logits: Tensor): Tensor {
    return logits;
  }

  protected pick(seen: TensorData, rows: readonly Row[]): ArrayLike<number> {
    this.#waiting = undefined;
    const width = seen.length / rows.length;
    const picked = new Uint32Array(rows.length);
    for (const [i, { answer, repetitionPenalty }] of rows.entries()) {
      const logits = seen.subarray(i * width, (i + 1) * width) as Float32Array;
      picked[i] = likeliest(processScores(logits, new Set(answer.tokenIds), { repetitionPenalty }));
    }
    this.gpu.write(this.view(rows.length), picked);
    return picked;
  }
}
