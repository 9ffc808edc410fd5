/** A body that runs, as it sees its place. */
export interface Turn {
  /** Gives the place to others while `body` runs, and waits for a place after it. */
  readonly away: <T>(body: () => Promise<T>) => Promise<T>;
}

interface Waiting {
  readonly begin: () => void;
  /** Whether it opens a large file. */
  readonly large: boolean;
}

/**
 * Runs so many bodies at once; others wait in the order of their calls. A body that waits for
 * something else gives its place away, so that there may be more that have begun; of those with a
 * large file, no more than there are places.
 */
export class Turns {
  #running = 0;
  #large = 0; // that have begun
  readonly #waiting: Waiting[] = [];

  constructor(private readonly most: number) {}

  /** Bodies that wait for a place. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** @throws the signal's reason while it waits; what `body` throws */
  async run<T>(body: (turn: Turn) => Promise<T>, signal: AbortSignal, large = false): Promise<T> {
    await this.#place(signal, large);
    let placed = true;
    const leave = (): void => {
      if (placed) this.#running--;
      placed = false;
    };
    const away = async <R>(other: () => Promise<R>): Promise<R> => {
      leave();
      this.#hand();
      const result = await other();
      await this.#place(signal);
      placed = true;
      return result;
    };
    try {
      return await body({ away });
    } finally {
      leave();
      if (large) this.#large--;
      this.#hand();
    }
  }

  /** Gives free places to those that wait. */
  #hand(): void {
    while (this.#running < this.most) {
      const at = this.#waiting.findIndex(({ large }) => !large || this.#large < this.most);
      if (at < 0) return;
      const [{ begin, large }] = this.#waiting.splice(at, 1);
      this.#running++;
      if (large) this.#large++;
      begin();
    }
  }

  #place(signal: AbortSignal, large = false): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason as Error);
      };
      const begin = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const waiting = { begin, large };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(waiting);
      this.#hand();
    });
  }
}
