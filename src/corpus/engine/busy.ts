/** Seconds in which at least one of several jobs was at work. */
export class BusyClock {
  #running = 0;
  #begun = 0;
  #seconds = 0;

  get seconds(): number {
    const open = this.#running > 0 ? (performance.now() - this.#begun) / 1000 : 0;
    return this.#seconds + open;
  }

  async count<T>(job: Promise<T>): Promise<T> {
    if (this.#running++ === 0) this.#begun = performance.now();
    try {
      return await job;
    } finally {
      if (--this.#running === 0) this.#seconds += (performance.now() - this.#begun) / 1000;
    }
  }
}
