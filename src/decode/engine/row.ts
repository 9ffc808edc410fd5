import type { PromptTokens } from "../../model/fun-asr-nano.js";
import type { StreamDecoder } from "../../tokenizer/tokenizer.js";
import type { Sequence } from "../loop.js";
import type { Request } from "./request.js";

/** What a request's prompt and answer take. */
export interface Plan {
  readonly prompt: PromptTokens;
  /** Tokens that the answer begins with; they stand at the prompt's end too. */
  readonly prefix: readonly number[];
  /** Tokens of the answer at most. */
  readonly limit: number;
  /** Pages of keys and values at most. */
  readonly pages: number;
}

/** A request that is at work: it has a place in the KV cache. */
export class Row {
  readonly answer: Sequence;
  /** Tokens of the answer that submitted steps make: the last step of the prompt makes one. */
  submitted: number;
  /** When stages ended: performance.now(). */
  readonly times = { begun: performance.now(), encoded: 0, read: 0 };
  /** Of the CTC head, [T, D], where the words' times are wanted. */
  hidden: Float32Array | undefined;
  #left = false;
  #discarded = false;

  constructor(
    readonly request: Request,
    /** Its sequence in the KV cache. */
    readonly slot: number,
    readonly stream: StreamDecoder,
    private readonly release: (row: Row) => void,
  ) {
    const { prefix } = this.plan;
    this.answer = { tokenIds: [...prefix] };
    this.submitted = prefix.length;
    for (const id of prefix) stream.push(id);
  }

  get plan(): Plan {
    return this.request.plan;
  }

  get repetitionPenalty(): number {
    return this.request.options.repetitionPenalty ?? 1;
  }

  /** Whether its tokens are of use. */
  get open(): boolean {
    return !this.#discarded && !this.request.ended && !this.answer.finish;
  }

  /** Whether it wants one more step. */
  get wanting(): boolean {
    return this.open && this.submitted < this.plan.limit;
  }

  /** No step that is submitted from here on has it: its place in the cache is free. */
  leave(): void {
    if (!this.#left) this.release(this);
    this.#left = true;
  }

  /** Leaves, and what steps make of it is of no use. */
  discard(): void {
    this.#discarded = true;
    this.leave();
  }
}
