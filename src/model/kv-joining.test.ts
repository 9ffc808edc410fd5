import { describe, expect, test } from "vitest";
import { random, useGpu } from "../../test/gpu.js";
import { tinyConfig } from "../../test/helpers/tiny-model.js";
import type { Gpu, TensorData } from "../gpu/device.js";
import { generatedParameters } from "../verify/bundle.js";
import { KvCache, type LlmRows, wholeSequences } from "./kv-cache.js";
import { type Qwen3, embedTokens, lmHead, loadLanguageModel, qwen3 } from "./qwen3.js";

// Plan: sequences join, leave and wait at any step, as in a server, in steps of three rows and of as
// many as there are sequences, in a pool that has to grow. Every token's scores have the bits of the
// whole sequence without a cache. With subgroups and without.
const config = tinyConfig();
const families = { subgroups: useGpu(), portable: useGpu({ subgroups: false }) };
const [slots, longest, rounds] = [3, 100, 150];

/** Scores of every token of a whole sequence, as raw bits, a row each. */
async function alone(gpu: Gpu, llm: Qwen3, ids: readonly number[]): Promise<Uint32Array[]> {
  const [logits] = await gpu.step(() => {
    const rows = wholeSequences(gpu, config.llm, [ids.length]);
    return [lmHead(gpu, llm, qwen3(gpu, llm, embedTokens(gpu, llm, ids), rows, undefined))];
  });
  return rowsOf(logits);
}

function rowsOf(logits: TensorData): Uint32Array[] {
  const bits = new Uint32Array(logits.buffer, logits.byteOffset, logits.length);
  const width = config.llm.vocabSize;
  return Array.from({ length: bits.length / width }, (_, i) => bits.slice(i * width, (i + 1) * width));
}

interface Running {
  readonly ids: readonly number[];
  readonly want: readonly Uint32Array[];
}

describe.each(["subgroups", "portable"] as const)("%s", (family) => {
  test("sequences that come and go", async () => {
    const gpu = families[family]();
    const { kept } = gpu.bytes;
    const model = await loadLanguageModel(gpu, config.llm, generatedParameters(config, 3));
    const { llm } = model;
    const cache = new KvCache(gpu, config.llm, new Array<number>(slots).fill(1), longest);
    const { all: few } = cache.pages;
    const next = random(7);
    const below = (count: number): number => Math.floor(((next() + 1) / 2) * count);
    const running = new Map<number, Running>();
    let tokens = 0;

    /** Runs rows, each a token of a sequence or nobody's, and compares their scores. */
    const check = async (
      placed: readonly (readonly [slot: number | undefined, at: number])[],
      place: () => LlmRows,
    ): Promise<void> => {
      const ids = placed.map(([slot, at]) => (slot === undefined ? 5 : running.get(slot)!.ids[at]));
      const [logits] = await gpu.step(() => [
        lmHead(gpu, llm, qwen3(gpu, llm, embedTokens(gpu, llm, ids), place(), cache)),
      ]);
      for (const [i, got] of rowsOf(logits).entries()) {
        const [slot, at] = placed[i];
        if (slot === undefined) continue;
        expect(got, `sequence ${slot}, token ${at}`).toEqual(running.get(slot)!.want[at]);
        tokens++;
      }
    };
    const join = async (slot: number): Promise<void> => {
      const ids = Array.from({ length: 2 + below(longest - 1) }, () => below(config.llm.vocabSize));
      running.set(slot, { ids, want: await alone(gpu, llm, ids) });
      const counts = new Array<number>(slots).fill(0);
      counts[slot] = 1 + below(Math.min(60, ids.length - 1));
      await check(
        Array.from({ length: counts[slot] }, (_, at) => [slot, at] as const),
        () => cache.append(counts),
      );
    };
    const leave = (slot: number): void => {
      running.delete(slot);
      cache.remove(slot);
    };

    for (let round = 0; round < rounds; round++) {
      const slot = below(slots);
      if (!running.has(slot)) await join(slot);
      else if (below(12) === 0) leave(slot);
      const waiting = below(2 * slots); // a sequence that takes no part in this step
      const rows = [...Array(slots).keys()].map((i) => (running.has(i) && i !== waiting ? i : undefined));
      const step = round % 2 === 0 ? rows : rows.filter((row) => row !== undefined);
      if (step.length > 0) {
        const placed = step.map((row) => [row, row === undefined ? 0 : cache.lengths[row]] as const);
        await check(placed, () => cache.advance(step).rows);
      }
      for (const [i, { ids }] of running) if (cache.lengths[i] === ids.length) leave(i);
    }
    expect(tokens).toBeGreaterThan(500);
    expect(cache.pages.all).toBeGreaterThan(few);
    for (const i of [...running.keys()]) leave(i);
    expect(cache.pages.free).toBe(cache.pages.all);
    cache.free();
    model.free();
    expect(gpu.bytes).toMatchObject({ kept, live: 0 });
  });
});
