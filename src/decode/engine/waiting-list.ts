import { TurnQueue } from "./queue.js";
import type { Request } from "./request.js";

/** Requests that have not begun: live ones and others have a queue each. */
export class WaitingList {
  readonly #queues = { live: new TurnQueue<Request>(), normal: new TurnQueue<Request>() };
  /** Those whose group failed: each is read again by itself, before the others. */
  readonly #again: Request[] = [];

  /** All that wait. */
  get items(): Request[] {
    const { live, normal } = this.#queues;
    return [...this.#again, ...live.items, ...normal.items];
  }

  /** Live ones, or others; without those that are read again. */
  count(live: boolean): number {
    return this.#queue(live).length;
  }

  /** The next one that begins, a live one or another; it stays. */
  next(live: boolean): Request | undefined {
    return this.#again.find((request) => request.live === live) ?? this.#queue(live).first;
  }

  add(request: Request): void {
    this.#queue(request.live).add(request);
  }

  /** Of a request that is read again. */
  addAgain(request: Request): void {
    this.#again.push(request);
  }

  /** Takes one out because it begins. */
  serve(request: Request): void {
    if (!this.#dropAgain(request)) this.#queue(request.live).serve(request);
  }

  /** Takes one out that has ended. @returns  whether that makes a place in its queue */
  drop(request: Request): boolean {
    return !this.#dropAgain(request) && this.#queue(request.live).drop(request);
  }

  #dropAgain(request: Request): boolean {
    const at = this.#again.indexOf(request);
    if (at >= 0) this.#again.splice(at, 1);
    return at >= 0;
  }

  #queue(live: boolean): TurnQueue<Request> {
    return live ? this.#queues.live : this.#queues.normal;
  }
}
