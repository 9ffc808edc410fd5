import { SpokenStream } from "../segments/silence-marks.js";
import type { LlmConfig } from "../../config/model-config.js";
import type { Gpu } from "../../gpu/device.js";
import type { Tensor } from "../../gpu/tensor.js";
import { pageRows } from "../../kernels/attention/variants.js";
import { KvCache } from "../../model/kv-cache.js";
import type { Transcriber } from "../transcriber.js";
import { DeviceLane, type Flight, HostLane } from "./lane.js";
import type { EngineStats } from "./options.js";
import { type Read, Reader } from "./reader.js";
import type { Request } from "./request.js";
import { Row } from "./row.js";

/** What a session holds at most. */
export interface Limits {
  readonly rows: number;
  /** Frames and tokens of a reading step. */
  readonly read: number;
  /** Tokens of a sequence. */
  readonly tokens: number;
  /** Pages of the KV cache. */
  readonly pages: number;
}

/** Steps for live requests in a row, while others have something to read. */
const mostLive = 3;

/** What requests of a kind hold. */
interface Held {
  rows: number;
  /** Pages that they may need. */
  pages: number;
}

/** Pages of keys and values that so many tokens take. */
export function pagesOf(tokens: number): number {
  return Math.ceil(tokens / pageRows);
}

/** Pages that `bytes` of keys and values have, within what one buffer may be bound with. */
export function pagesIn(gpu: Gpu, { layers, kvHeads, headDim }: LlmConfig, bytes: number): number {
  const rowBytes = 4 * kvHeads * headDim;
  const bound = gpu.device.limits.maxStorageBufferBindingSize;
  return Math.floor(Math.min(bytes / (2 * layers), bound) / (pageRows * rowBytes));
}

/** An engine's KV cache, and the rows in it: those that are read, and those that are decoded. */
export class Session {
  readonly #cache: KvCache;
  readonly #newest: Tensor; // a row's first token, by its sequence
  readonly #device: DeviceLane;
  readonly #host: HostLane;
  /** Live requests are read between the pieces of others, and have rows of their own. */
  readonly #readers: Readonly<Record<"live" | "normal", Reader>>;
  readonly #kept: number; // rows
  readonly #slots: number[]; // that no row has
  readonly #held: Readonly<Record<"live" | "normal", Held>> = {
    live: { rows: 0, pages: 0 },
    normal: { rows: 0, pages: 0 },
  };
  #liveReads = 0; // in a row

  constructor(
    private readonly transcriber: Transcriber,
    private readonly limits: Limits,
  ) {
    const { gpu, model } = transcriber;
    this.#kept = Math.ceil(limits.rows / 4);
    const rows = limits.rows + this.#kept;
    const room = new Array<number>(rows).fill(1);
    const made: { free(): void }[] = [];
    const part = <T extends { free(): void }>(value: T): T => (made.push(value), value);
    try {
      const { llm } = model;
      const cache = part(new KvCache(gpu, llm.config, room, limits.tokens, limits.pages));
      const newest = gpu.keep([rows], "u32");
      part({ free: () => gpu.free(newest) });
      this.#device = part(new DeviceLane(gpu, llm, cache, newest, "tokens"));
      this.#host = part(new HostLane(gpu, llm, cache, newest, "scores"));
      const reader = (): Reader => part(new Reader(transcriber, cache, newest, limits.read));
      this.#readers = { live: reader(), normal: reader() };
      this.#cache = cache;
      this.#newest = newest;
    } catch (error) {
      for (const one of made) one.free();
      throw error;
    }
    this.#slots = room.map((_, i) => rows - 1 - i);
  }

  /** Rows that are decoded. */
  get decoding(): readonly Row[] {
    return [...this.#device.members, ...this.#host.members].filter(({ open }) => open);
  }

  /** Rows that are read. */
  get reading(): readonly Row[] {
    const { live, normal } = this.#readers;
    return [...live.rows, ...normal.rows].filter(({ open }) => open);
  }

  /** Rows that may be made of live requests, or of others. */
  places(live: boolean): number {
    return live ? this.#slots.length : Math.max(0, this.#slots.length - this.#kept);
  }

  get #promised(): number {
    return this.#held.live.pages + this.#held.normal.pages;
  }

  get pages(): EngineStats["pages"] {
    const { all, free } = this.#cache.pages;
    return { all, used: all - free, promised: this.#promised, most: this.limits.pages };
  }

  /** Whether there is a place for a request, and pages for all that it may need. */
  fits({ live, plan }: Request): boolean {
    return this.places(live) > 0 && this.#promised + plan.pages <= this.limits.pages;
  }

  /** Whether a request that is not live fits beside a live one, or waits for others of its kind. */
  leavesRoom(live: Request, { plan }: Request): boolean {
    const { rows, pages } = this.#held.normal;
    if (rows >= this.limits.rows || pages + plan.pages > this.limits.pages) return true;
    const all = this.#promised + live.plan.pages + plan.pages;
    return this.#slots.length > this.#kept + 1 && all <= this.limits.pages;
  }

  /** Makes a row of a request that fits. */
  open(request: Request): Row {
    const { plan } = request;
    const stream = new SpokenStream(this.transcriber.tokenizer.stream({ skipSpecial: true }));
    const held = this.#held[request.live ? "live" : "normal"];
    held.rows++;
    held.pages += plan.pages;
    return new Row(request, this.#slots.pop()!, stream, (row) => {
      this.#cache.remove(row.slot);
      this.#slots.push(row.slot);
      held.rows--;
      held.pages -= plan.pages;
    });
  }

  /** Submits a step of each lane's rows. @throws GpuError  the cache cannot grow */
  decode(): Flight[] {
    return [this.#device.submit(), this.#host.submit()].filter((flight) => flight !== undefined);
  }

  /**
   * Submits a step of encoder or prompt, of live requests where there are some, but each fourth one
   * of others; see Reader. While live ones are at work, the pieces of others are a quarter, so that
   * the live ones' steps come soon.
   * @param admit  takes the next request on, a live one or another
   */
  read(admit: (frames: number, live: boolean) => Row | undefined): Read | undefined {
    const joined = (row: Row): void => {
      if (!row.wanting) row.leave();
      else (row.repetitionPenalty === 1 ? this.#device : this.#host).join(row);
    };
    const { live, normal } = this.#readers;
    const share = [...live.rows, ...this.decoding].some(({ request }) => request.live) ? 4 : 1;
    normal.most = Math.ceil(this.limits.read / share);
    const readLive = (): Read | undefined => live.read((frames) => admit(frames, true), joined);
    const readNormal = (): Read | undefined => normal.read((frames) => admit(frames, false), joined);
    const first = this.#liveReads < mostLive ? readLive() : undefined;
    const read = first ?? readNormal();
    this.#liveReads = first ? this.#liveReads + 1 : read ? 0 : this.#liveReads;
    return read ?? readLive();
  }

  free(): void {
    const { live, normal } = this.#readers;
    for (const part of [live, normal, this.#host, this.#device, this.#cache]) part.free();
    this.transcriber.gpu.free(this.#newest);
  }
}
