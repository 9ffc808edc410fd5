/**
 * Times the layers of a decoding step, of Qwen3-0.6B's shape with synthetic weights, over a KV cache
 * in pages and over the same rows without a page table, in turn: `npx tsx bench/pages.ts [--layers N]
 * [--tokens N] [--rounds N] [--cache A,B,...] [--no-subgroups] [--write]`. Prints CPU milliseconds a
 * token (on a software adapter these include the device's work) and wall time, medians, and the
 * median of the rounds' ratios: without a table over with one. Above 1, pages are faster.
 */
import { parseArgs } from "node:util";
import { Program } from "../src/gpu/recorder.js";
import { embedding } from "../src/kernels/embedding/embedding.js";
import { KvCache, type LlmRows } from "../src/model/kv-cache.js";
import { loadLanguageModel, qwen3 } from "../src/model/qwen3.js";
import { openDevice } from "../src/node/device.js";
import { commitName, deviceName, writeResult } from "./result.js";
import { qwen3Config, syntheticSource } from "./synthetic.js";

const { values } = parseArgs({
  allowNegative: true,
  options: {
    layers: { type: "string", default: "4" },
    tokens: { type: "string", default: "10" },
    rounds: { type: "string", default: "40" },
    cache: { type: "string", default: "64,1024" },
    subgroups: { type: "boolean", default: true },
    write: { type: "boolean", default: false },
  },
});
const tokens = Number(values.tokens);
const config = { ...qwen3Config(Number(values.layers)), vocabSize: 256 };
const { gpu, adapter } = await openDevice({ subgroups: values.subgroups });
const { llm } = await loadLanguageModel(gpu, config, syntheticSource(config, "bf16"), { weights: "bf16" });
const ids = gpu.keep([1], "u32");

const median = (numbers: readonly number[]): number =>
  Number([...numbers].sort((a, b) => a - b)[numbers.length >> 1].toPrecision(4));

/** Milliseconds a token, of the process and of the clock. */
interface Taken {
  readonly cpu: number;
  readonly wall: number;
}

/** Runs some steps over these rows. */
async function time(cache: KvCache, rows: LlmRows, program: Program): Promise<Taken> {
  const [before, start] = [process.cpuUsage(), performance.now()];
  for (let i = 0; i < tokens; i++)
    await gpu.step(() => [qwen3(gpu, llm, embedding(gpu, ids, llm.embedTokens), rows, cache)], program);
  const wall = (performance.now() - start) / tokens;
  const { user, system } = process.cpuUsage(before);
  return { cpu: (user + system) / 1000 / tokens, wall };
}

const results = [];
for (const length of values.cache.split(",").map(Number)) {
  const cache = new KvCache(gpu, config, [length + 1]);
  await gpu.step(() => (cache.append([length]), []));
  const { rows } = cache.advance();
  const { count, angles, slots, ranges, tiles, longest } = rows;
  const ordered = { count, angles, slots, ranges, tiles, longest }; // one sequence's pages lie in order
  const sides = { ordered, paged: rows };
  const programs = { ordered: new Program(), paged: new Program() };
  const taken: Record<"ordered" | "paged", Taken[]> = { ordered: [], paged: [] };
  for (let round = -1; round < Number(values.rounds); round++) {
    for (const side of round % 2 === 0 ? (["ordered", "paged"] as const) : (["paged", "ordered"] as const)) {
      const result = await time(cache, sides[side], programs[side]);
      if (round >= 0) taken[side].push(result); // the first round compiles
    }
  }
  const of = (key: keyof Taken): object => ({
    ordered: median(taken.ordered.map((t) => t[key])),
    paged: median(taken.paged.map((t) => t[key])),
    ratio: median(taken.ordered.map((t, i) => t[key] / taken.paged[i][key])),
  });
  results.push({ cache: length, cpuMs: of("cpu"), wallMs: of("wall") });
  console.log(JSON.stringify(results.at(-1)));
  cache.free();
}
if (values.write) {
  const commit = commitName();
  const family = values.subgroups ? "subgroups" : "portable";
  const { layers } = config;
  const about = { device: adapter.device, description: adapter.description, node: process.version, commit };
  writeResult(`pages-${family}-${deviceName(adapter)}-${commit}`, {
    ...about,
    family,
    layers,
    tokens,
    rounds: Number(values.rounds),
    results,
  });
}
gpu.destroy();
