import type { TensorData } from "../../gpu/device.js";
import { copyWords } from "../../gpu/copy-words.js";
import { keepAll } from "../../gpu/keep-all.js";
import type { Tensor } from "../../gpu/tensor.js";
import { concatenated } from "../../frontend/audio.js";
import { argmax } from "../../kernels/argmax/argmax.js";
import { spliceRows } from "../../kernels/copy-rows/copy-rows.js";
import { adapt, encode } from "../../model/fun-asr-nano.js";
import type { KvCache } from "../../model/kv-cache.js";
import { embedTokens, lmHead, qwen3 } from "../../model/qwen3.js";
import type { Transcriber } from "../transcriber.js";
import type { Flight } from "./lane.js";
import type { Row } from "./row.js";

/** A row whose audio is encoded, and how much of its prompt was read. */
interface Reading {
  readonly row: Row;
  /** Its first row of the audio's embeddings. */
  readonly audio: number;
  done: number;
}

/** Tokens of a prompt that one step reads. */
interface Part extends Reading {
  readonly end: number;
}

/** A step of encoder or prompt. */
export interface Read extends Flight {
  /** Rows that it works for, whether they get a token or not. */
  readonly readers: readonly Row[];
  /** Takes in what was read beside the tokens. */
  readonly done: (seen: TensorData | undefined) => void;
}

/**
 * Reads audio and prompts in pieces: a group of clips through encoder and adaptor, then their
 * prompts, then the next group.
 */
export class Reader {
  #group: Reading[] = [];
  #audio: Tensor; // [tokens, D] f32, the group's audio embeddings
  readonly #first: Tensor; // tokens that a step makes, in its order

  constructor(
    private readonly transcriber: Transcriber,
    private readonly cache: KvCache,
    /** [sequences] u32: where a row's first token goes. */
    private readonly newest: Tensor,
    /** Frames of a group, and tokens of a step; may change between steps. */
    public most: number,
  ) {
    const { gpu } = transcriber;
    [this.#first, this.#audio] = keepAll(gpu, [
      [newest.shape, "u32"],
      [[most, transcriber.model.config.llm.hiddenSize], "f32"],
    ]);
  }

  /** Rows that are being read. */
  get rows(): readonly Row[] {
    return this.#group.map(({ row }) => row);
  }

  /**
   * Submits a step; undefined where there is nothing to read.
   * @param admit   takes the next request on whose clip has so many frames at most
   * @param joined  gets the rows whose prompts are read
   */
  read(admit: (frames: number) => Row | undefined, joined: (row: Row) => void): Read | undefined {
    for (const { row } of this.#group) if (!row.open) row.leave();
    this.#group = this.#group.filter(({ row }) => row.open);
    if (this.#group.length > 0) return this.#prompts(joined);
    const rows: Row[] = [];
    let left = this.most;
    for (let row = admit(Infinity); row; row = admit(left)) {
      rows.push(row);
      left -= row.request.clip.frames;
      if (row.request.alone || left <= 0) break;
    }
    return rows.length > 0 ? this.#encode(rows) : undefined;
  }

  free(): void {
    this.transcriber.gpu.free(this.#first);
    this.transcriber.gpu.free(this.#audio);
  }

  #encode(rows: readonly Row[]): Read {
    const { gpu, model, aligner } = this.transcriber;
    const clips = rows.map(({ request }) => request.clip);
    const frames = clips.map((clip) => clip.frames);
    let tokens = 0;
    this.#group = rows.map((row) => {
      const reading = { row, audio: tokens, done: 0 };
      tokens += row.plan.prompt.audioLength;
      return reading;
    });
    const timed = aligner && rows.some(({ request }) => request.options.wordTimes !== false);
    const step = gpu.step(() => {
      this.#fit(tokens);
      const states = encode(gpu, model, {
        features: concatenated(clips.map((clip) => clip.features)),
        frames,
      });
      const audio = adapt(gpu, model, states, frames);
      const pairs = Array.from({ length: tokens }, (_, i): [number, number] => [i, i]);
      spliceRows(gpu, audio, pairs, this.#audio);
      return timed ? [aligner.record(states, frames)] : [];
    });
    return flight(step, rows, [], (hidden) => {
      const width = (hidden?.length ?? 0) / frames.reduce((sum, count) => sum + count);
      let first = 0;
      for (const [i, row] of rows.entries()) {
        const end = first + frames[i] * width;
        if (hidden && row.request.options.wordTimes !== false)
          row.hidden = hidden.slice(first, end) as Float32Array;
        first = end;
        row.times.encoded = performance.now();
      }
    });
  }

  /** The next tokens of the group's prompts. */
  #prompts(joined: (row: Row) => void): Read {
    const { gpu, model } = this.transcriber;
    const { llm } = model;
    const parts = this.#parts();
    const ended = parts.filter(({ row, end }) => end === row.plan.prompt.ids.length).map(({ row }) => row);
    const first = { ...this.#first, shape: [ended.length], bytes: 4 * ended.length };
    const step = gpu.step(() => {
      const counts = new Array<number>(this.cache.lengths.length).fill(0);
      for (const { row, done, end } of parts) counts[row.slot] = end - done;
      const rows = this.cache.append(counts);
      const only = lastRows(parts);
      const hidden = qwen3(gpu, llm, this.#embeds(parts), rows, this.cache, {
        only: only.length > 0 ? only : [0],
      });
      return only.length > 0 ? [argmax(gpu, lmHead(gpu, llm, hidden), first)] : [];
    });
    copyWords(
      gpu,
      ended.map(({ slot }, start) => ({ from: first, start, to: this.newest, at: slot, count: 1 })),
    );
    for (const reading of this.#group)
      reading.done = parts.find(({ row }) => row === reading.row)?.end ?? reading.done;
    this.#group = this.#group.filter(({ row }) => !ended.includes(row));
    for (const row of ended) {
      row.submitted++;
      joined(row);
    }
    return flight(
      step,
      parts.map(({ row }) => row),
      ended,
      () => {
        for (const row of ended) row.times.read = performance.now();
      },
    );
  }

  /** What the next step reads, in the order of the sequences, as the cache packs them. */
  #parts(): Part[] {
    const parts: Part[] = [];
    let left = this.most;
    for (const reading of this.#group) {
      const end = Math.min(reading.row.plan.prompt.ids.length, reading.done + left);
      if (end === reading.done) break;
      parts.push({ ...reading, end });
      left -= end - reading.done;
    }
    return parts.sort((a, b) => a.row.slot - b.row.slot);
  }

  /** Embeddings of the parts, with the audio in its places. */
  #embeds(parts: readonly Part[]): Tensor {
    const { gpu, model } = this.transcriber;
    const ids: number[] = [];
    const pairs: [number, number][] = [];
    for (const { row, audio, done, end } of parts) {
      const { ids: prompt, audioOffset, audioLength } = row.plan.prompt;
      for (let at = done; at < end; at++) {
        const place = at - audioOffset;
        if (place >= 0 && place < audioLength) pairs.push([audio + place, ids.length]);
        ids.push(prompt[at]);
      }
    }
    const embeds = embedTokens(gpu, model.llm, ids);
    if (pairs.length > 0) spliceRows(gpu, this.#audio, pairs, embeds);
    return embeds;
  }

  /** Makes room for the audio's embeddings of a group. */
  #fit(tokens: number): void {
    const [room, width] = this.#audio.shape;
    if (tokens <= room) return;
    const { gpu } = this.transcriber;
    const larger = gpu.keep([tokens, width], "f32");
    gpu.free(this.#audio);
    this.#audio = larger;
  }
}

function flight(
  step: Promise<TensorData[]>,
  readers: readonly Row[],
  rows: readonly Row[],
  done: Read["done"],
): Read {
  const seen = step.then(([data]) => data);
  seen.catch(() => undefined); // met at its turn
  return { rows, readers, seen, pick: (data) => data, done };
}

/** A step that was not submitted because of an error. */
export function failedRead(readers: readonly Row[], error: Error): Read {
  return flight(Promise.reject(error), readers, [], () => undefined);
}

/** The step's rows that hold the last token of a prompt. */
function lastRows(parts: readonly Part[]): number[] {
  let row = -1;
  return parts.flatMap(({ row: { plan }, done, end }) => {
    row += end - done;
    return end === plan.prompt.ids.length ? [row] : [];
  });
}
