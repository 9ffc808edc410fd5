/** What waits in a queue. */
export interface Waiting {
  readonly owner: object;
}

/**
 * Owners take turns, each in the order of its requests. Fair queueing: a request's turn is one after
 * its owner's last, but not before the turn that is being served.
 */
export class TurnQueue<T extends Waiting> {
  readonly #waiting = new Map<T, { readonly turn: number; readonly order: number }>();
  readonly #last = new WeakMap<object, number>(); // turn of an owner's newest request
  #served = 0;
  #order = 0;

  get length(): number {
    return this.#waiting.size;
  }

  add(item: T): void {
    const turn = Math.max(this.#served, (this.#last.get(item.owner) ?? -1) + 1);
    this.#last.set(item.owner, turn);
    this.#waiting.set(item, { turn, order: this.#order++ });
  }

  /** The next one; it stays in the queue. */
  get first(): T | undefined {
    let best: T | undefined;
    for (const item of this.#waiting.keys()) if (!best || this.#before(item, best)) best = item;
    return best;
  }

  /** Takes one out because its turn has come. */
  serve(item: T): void {
    this.#served = Math.max(this.#served, this.#waiting.get(item)!.turn);
    this.#waiting.delete(item);
  }

  /** Takes one out that does not want its turn. @returns  whether it was there */
  drop(item: T): boolean {
    return this.#waiting.delete(item);
  }

  /** All that wait. */
  get items(): T[] {
    return [...this.#waiting.keys()];
  }

  #before(a: T, b: T): boolean {
    const [x, y] = [this.#waiting.get(a)!, this.#waiting.get(b)!];
    return x.turn === y.turn ? x.order < y.order : x.turn < y.turn;
  }
}
