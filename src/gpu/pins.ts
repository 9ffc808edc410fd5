import type { Allocation } from "./tensor.js";

interface Pin {
  count: number;
  /** Its scope has ended: it goes back to the pool with the last pin. */
  orphan: boolean;
}

/** Allocations that must outlive the scope they were made in. Pins count: what is pinned twice is freed by the second unpin. */
export class Pins {
  readonly #pins = new Map<Allocation, Pin>();

  add(allocation: Allocation): void {
    const pin = this.#pins.get(allocation);
    if (pin) pin.count++;
    else this.#pins.set(allocation, { count: 1, orphan: false });
  }

  /** Takes one pin away; true if the allocation is to go back to the pool now. */
  drop(allocation: Allocation): boolean {
    const pin = this.#pins.get(allocation);
    if (!pin || --pin.count > 0) return false;
    this.#pins.delete(allocation);
    return pin.orphan;
  }

  /** Called when an allocation's scope ends; true if a pin keeps it. */
  keeps(allocation: Allocation): boolean {
    const pin = this.#pins.get(allocation);
    if (pin) pin.orphan = true;
    return pin !== undefined;
  }

  /** Drops every pin; what they alone kept. */
  drain(): Allocation[] {
    const orphans = [...this.#pins].filter(([, { orphan }]) => orphan).map(([allocation]) => allocation);
    this.#pins.clear();
    return orphans;
  }
}
