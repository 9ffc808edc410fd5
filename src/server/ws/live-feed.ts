import { PcmReader } from "../../frontend/pcm-reader.js";
import type { Engine, LiveEvent, LiveOptions, LiveSession } from "../engine/engine.js";
import type { Peer } from "./peer.js";

/** Seconds of audio that the engine may be behind: reading stops, and goes on. */
const behind = { most: 30, least: 10 };

/**
 * Audio of a connection on its way to the engine. A client that sends faster than the engine works
 * is read more slowly.
 */
export class LiveFeed {
  readonly #session: LiveSession;
  readonly #pcm: PcmReader;
  #seconds = 0;
  #committed: (() => void)[] = [];

  /** @param rate  of the PCM, Hz */
  constructor(
    engine: Engine,
    options: LiveOptions,
    rate: number,
    private readonly peer: Peer,
    private readonly listener: (event: LiveEvent) => void,
  ) {
    this.#pcm = new PcmReader(rate);
    this.#session = engine.open(options, (event) => this.#hear(event));
  }

  /** Of the audio that was pushed. */
  get seconds(): number {
    return this.#seconds;
  }

  push(bytes: Buffer): void {
    this.#push(this.#pcm.push(bytes));
  }

  /** Ends the open segment. @returns once all before it has its final text, or the session failed */
  commit(): Promise<void> {
    this.#push(this.#pcm.end());
    const committed = new Promise<void>((resolve) => this.#committed.push(resolve));
    this.#session.commit();
    return committed;
  }

  clear(): void {
    this.#session.clear();
  }

  close(): void {
    this.#session.close();
    this.peer.release(this);
    for (const resolve of this.#committed.splice(0)) resolve();
  }

  #push(samples: Float32Array): void {
    if (samples.length === 0) return;
    this.#seconds += samples.length / 16_000;
    this.#session.push(samples);
  }

  #hear(event: LiveEvent): void {
    if (event.type === "heard") {
      const late = this.#seconds - event.seconds;
      if (late > behind.most) this.peer.hold(this);
      else if (late < behind.least) this.peer.release(this);
      return;
    }
    this.listener(event);
    if (event.type === "committed") this.#committed.shift()?.();
    if (event.type === "failed") for (const resolve of this.#committed.splice(0)) resolve();
  }
}
