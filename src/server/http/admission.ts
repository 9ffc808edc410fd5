import { ApiError } from "./api-error.js";

/** A place of a request that does work. */
export interface Place {
  /** Gives the place back. `seconds`: how long the work took, where it was done. */
  readonly leave: (seconds?: number) => void;
}

/** So many requests are let in; beyond them they are refused with a time to come back. */
export class Admission {
  #inside = 0;
  /** Of a request, a moving mean. */
  #seconds = 1;
  /** Called when nobody is inside. */
  #empty: (() => void)[] = [];

  /**
   * @param atOnce   requests that are worked on at once
   * @param waiting  and that wait beside them
   */
  constructor(
    private readonly atOnce: number,
    private readonly waiting: number,
  ) {}

  get inside(): number {
    return this.#inside;
  }

  /** @throws ApiError 429  too many are inside */
  enter(): Place {
    if (this.#inside >= this.atOnce + this.waiting)
      throw new ApiError(429, `${this.#inside} requests are in work or wait; try again later`, {
        code: "server_busy",
        retryAfterSeconds: this.#retryAfter(),
      });
    this.#inside++;
    let left = false;
    return {
      leave: (seconds) => {
        if (left) return;
        left = true;
        this.#inside--;
        if (seconds !== undefined) this.#seconds += (seconds - this.#seconds) / 8;
        if (this.#inside === 0) for (const resolve of this.#empty.splice(0)) resolve();
      },
    };
  }

  /** Resolves when nobody is inside. */
  async emptied(): Promise<void> {
    if (this.#inside > 0) await new Promise<void>((resolve) => this.#empty.push(resolve));
  }

  /** Until half of those that wait have gone, s. */
  #retryAfter(): number {
    return Math.min(60, Math.max(1, Math.ceil((this.#seconds * this.waiting) / (2 * this.atOnce))));
  }
}
