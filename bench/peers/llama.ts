import { openLlm } from "../../src/checkpoint/migrate/open-llm.js";
import { greedyPicker } from "../../src/decode/greedy.js";
import { decode } from "../../src/decode/loop.js";
import type { Gpu } from "../../src/gpu/device.js";
import { type LanguageModel, embedTokens, loadLanguageModel } from "../../src/model/qwen3.js";
import { modelFiles } from "../../src/node/model-files.js";
import { type Spread, spread } from "../../src/profile/ceiling.js";
import { roundedSpread } from "./harness.js";
import { PeerProcess, type Run, sameAtFirst } from "./process.js";

const tokens = 24;
const promptTokens = 64;

export interface LlamaResult {
  readonly versions: Readonly<Record<string, string>>;
  readonly promptTokens: number;
  readonly tokens: number;
  /** Seconds from the prompt to the first token. */
  readonly prefillSeconds: Readonly<Record<string, Spread>>;
  /** Tokens a second after the first. */
  readonly tokensPerSecond: Readonly<Record<string, Spread>>;
  /** Tokens at the beginning that are llama.cpp's. */
  readonly sameTokens: number;
}

async function runEngine(gpu: Gpu, { llm }: LanguageModel, ids: readonly number[]): Promise<Run> {
  const start = performance.now();
  let first = start;
  const prompt = { lengths: [ids.length], embed: () => embedTokens(gpu, llm, ids) };
  const [{ tokenIds }] = await decode(gpu, llm, prompt, greedyPicker(gpu), {
    stopIds: new Set<number>(),
    maxNewTokens: [tokens],
    guardLoops: false,
    onPrefill: () => (first = performance.now()),
  });
  const end = performance.now();
  return { seconds: (end - start) / 1000, decode: (end - first) / 1000, ids: tokenIds };
}

/**
 * The LLM alone from one GGUF file: this engine with the stored blocks, and llama.cpp on the CPU,
 * in turn.
 */
export async function timeLlama(
  gpu: Gpu,
  file: string,
  { python, rounds }: { readonly python: string; readonly rounds: number },
): Promise<LlamaResult> {
  const peer = new PeerProcess(python, "llama_peer.py", [file, "--threads", "2"]);
  const checkpoint = await openLlm(modelFiles(file));
  const model = await loadLanguageModel(gpu, checkpoint.config.llm, checkpoint);
  try {
    const versions = await peer.ready();
    const ids = Array.from({ length: promptTokens }, (_, i) => 1000 + 37 * i);
    const contenders: readonly (readonly [string, () => Promise<Run>])[] = [
      ["llama.cpp", () => peer.run({ ids, tokens })],
      ["funasr-webgpu", () => runEngine(gpu, model, ids)],
    ];
    const runs = new Map<string, Run[]>(contenders.map(([name]) => [name, []]));
    for (let i = -1; i < rounds; i++) {
      for (const [name, run] of contenders) {
        const result = await run();
        if (i >= 0) runs.get(name)!.push(result);
      }
    }
    const of = (value: (run: Run) => number): Record<string, Spread> =>
      Object.fromEntries([...runs].map(([name, list]) => [name, roundedSpread(spread(list.map(value)))]));
    return {
      versions,
      promptTokens,
      tokens,
      prefillSeconds: of((run) => run.seconds - run.decode),
      tokensPerSecond: of((run) => (tokens - 1) / run.decode),
      sameTokens: sameAtFirst(runs.get("funasr-webgpu")![0].ids, runs.get("llama.cpp")![0].ids),
    };
  } finally {
    peer.end();
    model.free();
    await checkpoint.close();
  }
}
