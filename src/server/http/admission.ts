import { ApiError } from "./api-error.js";

/** A request with audio, from its first byte to its answer. */
export interface Visit {
  /** Takes a place: its audio is whole and work begins. @throws ApiError 429  no place is free */
  readonly enter: () => void;
  /** Gives the place back. `seconds`: how long the engine worked, where it gave a result. */
  readonly done: (seconds?: number) => void;
  /** The answer was sent, or nobody waits for it. */
  readonly leave: () => void;
}

/** Requests in all, for each place: the rest sends its audio or reads its answer. */
const visitsForPlace = 5;

/**
 * So many requests are let in; beyond them they are refused with a time to come back. A request has
 * a place only while the engine has its audio: a client that sends or reads slowly keeps nobody out.
 */
export class Admission {
  #inside = 0;
  #visits = 0;
  /** Of a recording, a moving mean. */
  #seconds = 1;
  /** Called when nobody is there. */
  #empty: (() => void)[] = [];

  /**
   * @param atOnce   requests that are worked on at once
   * @param waiting  and that wait beside them
   */
  constructor(
    private readonly atOnce: number,
    private readonly waiting: number,
  ) {}

  /** Requests that have a place. */
  get inside(): number {
    return this.#inside;
  }

  /** A request comes. @throws ApiError 429  no place is free, too many others come */
  arrive(): Visit {
    this.#check();
    if (this.#visits >= visitsForPlace * (this.atOnce + this.waiting))
      throw this.#refusal(`${this.#visits} requests are open`);
    this.#visits++;
    let stage: "comes" | "inside" | "done" | "gone" = "comes";
    const done = (seconds?: number): void => {
      if (stage === "inside") this.#inside--;
      if (stage !== "gone") stage = "done";
      if (seconds !== undefined) this.#seconds += (seconds - this.#seconds) / 8;
    };
    return {
      enter: () => {
        this.#check();
        if (stage !== "comes") return;
        stage = "inside";
        this.#inside++;
      },
      done,
      leave: () => {
        if (stage === "gone") return;
        done();
        stage = "gone";
        this.#visits--;
        if (this.#visits === 0) for (const resolve of this.#empty.splice(0)) resolve();
      },
    };
  }

  /** Resolves when nobody is there. */
  async emptied(): Promise<void> {
    if (this.#visits > 0) await new Promise<void>((resolve) => this.#empty.push(resolve));
  }

  #check(): void {
    if (this.#inside >= this.atOnce + this.waiting)
      throw this.#refusal(`${this.#inside} requests are in work or wait`);
  }

  /** Its time to come back: until half of those that wait have gone. */
  #refusal(why: string): ApiError {
    const seconds = (this.#seconds * this.waiting) / (2 * this.atOnce);
    return new ApiError(429, `${why}; try again later`, {
      code: "server_busy",
      retryAfterSeconds: Math.min(60, Math.max(1, Math.ceil(seconds))),
    });
  }
}
