/**
 * Items from one that gives them to one that takes them, one at a time. A loop that is left has taken
 * its item; the next loop goes on behind it.
 */
export class Handoff<T> implements AsyncIterable<T> {
  #item: { readonly value: T } | undefined;
  #taken: (() => void) | undefined;
  #waiting: (() => void) | undefined;
  #ended = false;
  #broken: { readonly error: Error } | undefined;
  #failed: { readonly error: Error } | undefined;

  /** Settles when the item was taken, and the taker wants more. @throws  the error of `fail` */
  give(value: T): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failed.error);
    return new Promise((resolve, reject) => {
      this.#item = { value };
      this.#taken = () => (this.#failed ? reject(this.#failed.error) : resolve());
      this.#waiting?.();
    });
  }

  /** No item follows. */
  end(): void {
    this.#ended = true;
    this.#waiting?.();
  }

  /** No item follows, because of an error that the taker gets. */
  break(error: Error): void {
    this.#broken = { error };
    this.#waiting?.();
  }

  /** The taker takes no more, because of an error that the giver gets. */
  fail(error: Error): void {
    this.#failed = { error };
    this.#taken?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      if (this.#item) {
        const { value } = this.#item;
        this.#item = undefined;
        try {
          yield value;
        } finally {
          this.#taken?.(); // also where the loop around it is left: another may follow
        }
      } else if (this.#broken) throw this.#broken.error;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#waiting = resolve));
    }
  }
}
