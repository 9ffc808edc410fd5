/**
 * Times decoding and prefill of a language model of Qwen3-0.6B's shape, with synthetic weights:
 * `npm run bench:decode [-- --weights bf16|f16|f32|q8|q4] [--layers N] [--tokens N] [--rounds N]
 * [--cache A,B,...] [--prefill A,B,...] [--write]`.
 * Each round runs some tokens at each cache length, then each prefill. A token is submitted before
 * the one before it has been read, as in the engine's own loop. Prints milliseconds a token (median
 * of all), the host's share of it (recording and submitting), dispatches, the growth from the
 * shortest cache, and CPU milliseconds of the process. On a software adapter these include the
 * device's work, and vary less than wall time on a busy machine. --write adds
 * bench/results/decode-<device>-<commit>.json.
 */
import { parseArgs } from "node:util";
import type { TensorData } from "../src/gpu/device.js";
import type { Tensor } from "../src/gpu/tensor.js";
import { argmax } from "../src/kernels/argmax/argmax.js";
import { takeRows } from "../src/kernels/copy-rows/copy-rows.js";
import { embedding } from "../src/kernels/embedding/embedding.js";
import { KvCache } from "../src/model/kv-cache.js";
import type { WeightFormat } from "../src/weights/loader.js";
import { embedTokens, lmHead, loadLanguageModel, qwen3 } from "../src/model/qwen3.js";
import { openDevice } from "../src/node/device.js";
import { qwen3Config, syntheticSource } from "./synthetic.js";
import { commitName, deviceName, writeResult } from "./result.js";

const { values } = parseArgs({
  options: {
    weights: { type: "string", default: "bf16" },
    layers: { type: "string", default: "28" },
    tokens: { type: "string", default: "4" },
    rounds: { type: "string", default: "5" },
    cache: { type: "string", default: "64,256,1024,4096" },
    prefill: { type: "string", default: "64,256" },
    write: { type: "boolean", default: false },
  },
});
const list = (text: string): number[] => text.split(",").filter(Boolean).map(Number);
const tokens = Number(values.tokens);
const weights = values.weights as WeightFormat;
const config = qwen3Config(Number(values.layers));
const { gpu, adapter } = await openDevice();
const model = await loadLanguageModel(gpu, config, syntheticSource(config, weights), { weights });

const { llm } = model;

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1];
}

const rounded = (value: number): number => Number(value.toPrecision(4));

interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

const spread = (numbers: readonly number[]): Spread => ({
  min: rounded(Math.min(...numbers)),
  median: rounded(median(numbers)),
  max: rounded(Math.max(...numbers)),
});

/** A sequence whose cache claims to hold so many tokens. They are zero, which costs the same. */
class Sequence {
  readonly wall: number[] = [];
  readonly encode: number[] = [];
  readonly cpu: number[] = [];
  dispatches = 0;
  readonly #cache: KvCache;
  readonly #ids: Tensor;

  constructor(readonly length: number) {
    this.#cache = new KvCache(gpu, config, [length + (Number(values.rounds) + 1) * tokens]);
    this.#ids = gpu.keep([1], "u32");
  }

  async fill(): Promise<void> {
    await gpu.step(() => {
      this.#cache.append([this.length]);
      return [];
    });
  }

  /** Records and submits one token's step; returns its result and the host's milliseconds. */
  #submit(): { step: Promise<TensorData[]>; encode: number } {
    const before = gpu.counts.dispatches;
    const start = performance.now();
    const { rows, program } = this.#cache.advance();
    const step = gpu.step(() => {
      const hidden = qwen3(gpu, llm, embedding(gpu, this.#ids, llm.embedTokens), rows, this.#cache);
      return [argmax(gpu, lmHead(gpu, llm, hidden), this.#ids)];
    }, program);
    const encode = performance.now() - start;
    this.dispatches = gpu.counts.dispatches - before;
    return { step, encode };
  }

  async run(measured: boolean): Promise<void> {
    let current = this.#submit();
    let last = performance.now();
    const before = process.cpuUsage();
    for (let i = 1; i <= tokens; i++) {
      const next = i < tokens ? this.#submit() : undefined;
      await current.step;
      const now = performance.now();
      if (measured) {
        this.wall.push(now - last);
        this.encode.push(current.encode);
      }
      last = now;
      if (next) current = next;
    }
    const { user, system } = process.cpuUsage(before);
    if (measured) this.cpu.push((user + system) / 1000 / tokens);
  }
}

async function prefill(length: number): Promise<number> {
  const cache = new KvCache(gpu, config, [length]);
  const start = performance.now();
  await gpu.step(() => {
    const ids = Array.from({ length }, (_, i) => (i * 7919) % config.vocabSize);
    const hidden = qwen3(gpu, llm, embedTokens(gpu, llm, ids), cache.append([length]), cache);
    return [argmax(gpu, lmHead(gpu, llm, takeRows(gpu, hidden, [length - 1])))];
  });
  const taken = performance.now() - start;
  cache.free();
  return taken;
}

const sequences = list(values.cache).map((length) => new Sequence(length));
const prefills = new Map(list(values.prefill).map((length) => [length, [] as number[]]));
for (const sequence of sequences) await sequence.fill();
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const sequence of sequences) await sequence.run(round > 0); // the first round compiles
  for (const [length, times] of prefills) {
    const taken = await prefill(length);
    if (round > 0) times.push(taken);
  }
}
const decode = sequences.map(({ length, wall, encode, cpu, dispatches }) => ({
  cache: length,
  ms: spread(wall),
  tokensPerSecond: rounded(1000 / median(wall)),
  encodeMs: spread(encode),
  dispatches,
  growth: rounded(median(wall) / median(sequences[0].wall)),
  cpuMs: rounded(median(cpu)),
  cpuGrowth: rounded(Math.min(...cpu) / Math.min(...sequences[0].cpu)),
}));
const first = [...prefills].map(([rows, times]) => ({ rows, ms: spread(times) }));
const flat = ({ ms, encodeMs, ...rest }: { ms: Spread; encodeMs?: Spread }): object => ({
  ...rest,
  minMs: ms.min,
  medianMs: ms.median,
  maxMs: ms.max,
  ...(encodeMs ? { minEncodeMs: encodeMs.min, medianEncodeMs: encodeMs.median } : {}),
});
console.table(decode.map((row) => flat(row)));
console.table(first.map((row) => flat(row)));
if (values.write) {
  const commit = commitName();
  const { vendor, architecture, description } = adapter;
  const about = { vendor, architecture, device: adapter.device, description, node: process.version, commit };
  const result = {
    ...about,
    weights,
    layers: config.layers,
    tokens,
    rounds: Number(values.rounds),
    decode,
    prefill: first,
  };
  writeResult(`decode-${deviceName(adapter)}-${commit}`, result);
}
model.free();
gpu.destroy();
