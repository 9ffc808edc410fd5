import { describe, expect, test } from "vitest";
import { useGpu, values } from "../../test/gpu.js";
import { expectedAnswers, qwen3Directory } from "../../test/helpers/qwen3-directory.js";
import { openLlm } from "../checkpoint/migrate/open-llm.js";
import { notANumber } from "../kernels/argmax/argmax.js";
import { embedTokens, loadLanguageModel } from "../model/qwen3.js";
import { greedyPicker } from "./greedy.js";
import { type Picker, decode } from "./loop.js";
import { samplingPicker } from "./sampler.js";
import type { SamplingOptions } from "./sampling.js";

const gpu = useGpu();
const prompts = expectedAnswers.tied.map(({ ids }) => ids);

/** Answers to some prompts in one batch, of `tokens` each or until one of `stopIds`. */
async function run(
  chosen: readonly number[],
  pick: (ids: readonly (readonly number[])[]) => Picker,
  { tokens = [12], stopIds = [] as number[] } = {},
): Promise<(readonly number[])[]> {
  const checkpoint = await openLlm(qwen3Directory("tied"));
  const model = await loadLanguageModel(gpu(), checkpoint.config.llm, checkpoint);
  await checkpoint.close();
  const { llm } = model;
  const batch = chosen.map((i) => prompts[i]);
  try {
    const decoded = await decode(
      gpu(),
      llm,
      { lengths: batch.map((ids) => ids.length), embed: () => embedTokens(gpu(), llm, batch.flat()) },
      pick(batch),
      {
        stopIds: new Set(stopIds),
        maxNewTokens: batch.map((_, i) => tokens[i % tokens.length]),
        guardLoops: false,
      },
    );
    return decoded.map(({ tokenIds }) => tokenIds);
  } finally {
    model.free();
  }
}

const drawn =
  (options: SamplingOptions) =>
  (ids: readonly (readonly number[])[]): Picker =>
    samplingPicker(gpu(), ids, options);

// What is drawn for a sequence depends on its prompt, the seed and its place, not on its neighbours
// nor on when they end.
describe("a batch", () => {
  const options = { temperature: 1.3, topK: 40, minP: 0.01, repetitionPenalty: 1.1 };

  test("sequence i draws as alone with seed + i", async () => {
    const batch = await run([0, 3, 4], drawn({ ...options, seed: 77 }));
    for (const [i, prompt] of [0, 3, 4].entries()) {
      const [alone] = await run([prompt], drawn({ ...options, seed: 77 + i }));
      expect(batch[i]).toEqual(alone);
    }
    expect(new Set(batch.map((ids) => ids.join())).size).toBe(3);
  });

  test("the same where the others end early", async () => {
    const batch = await run([0, 3, 4], drawn({ ...options, seed: 77 }), { tokens: [2, 12, 5] });
    const whole = await run([0, 3, 4], drawn({ ...options, seed: 77 }));
    expect(batch).toEqual([whole[0].slice(0, 2), whole[1], whole[2].slice(0, 5)]);
  });

  test("greedy in a batch is what transformers answers to each", async () => {
    const answers = await run([0, 1, 2, 3, 4], () => greedyPicker(gpu()), { tokens: [24] });
    expect(answers).toEqual(expectedAnswers.tied.map(({ greedy }) => greedy));
    const stop = answers[1][3];
    const stopped = await run([1, 0], () => greedyPicker(gpu()), { tokens: [24], stopIds: [stop] });
    expect(stopped[0]).toEqual(answers[1].slice(0, answers[1].indexOf(stop)));
  });
});

// 2,000 draws of one step by the picker itself, each a sequence of its own: counts by probability,
// all seeds different.
test("neighbouring seeds draw independently", async () => {
  const sequences = 2000;
  const ids = gpu().keep([sequences], "u32");
  const row = [0, Math.log(2), Math.log(3), Math.log(4), -Infinity]; // 1 : 2 : 3 : 4 : 0
  const data = new Float32Array(Array.from({ length: sequences }, () => row).flat());
  const prompt = Array.from({ length: sequences }, () => []);
  const picker = samplingPicker(gpu(), prompt, { seed: 5 });
  const all = new Array<boolean>(sequences).fill(true);
  const picked = Array.from(picker.pick(data, ids, all));
  const counts = row.map((_, id) => picked.filter((other) => other === id).length);
  const pearson = [1, 2, 3, 4].reduce((sum, n, id) => sum + (counts[id] - 200 * n) ** 2 / (200 * n), 0);
  expect(pearson).toBeLessThan(16.3); // 3 free counts: once in a thousand, and the seed is fixed
  expect(counts[4]).toBe(0);
  const [kept] = await gpu().step(() => [ids]);
  expect(Array.from(kept)).toEqual(picked);
  gpu().free(ids);
});

test.each<[string, SamplingOptions]>([
  ["drawn", { topP: 0.9 }],
  ["penalised", { repetitionPenalty: 1.2 }],
])("a NaN among the scores is refused, %s", (_, options) => {
  const ids = gpu().keep([2], "u32");
  const data = values(20, 1);
  data[13] = NaN;
  const picked = samplingPicker(gpu(), [[1], [2]], options).pick(data, ids, [true, true]);
  expect(picked[0]).toBeLessThan(10);
  expect(picked[1]).toBe(notANumber);
  gpu().free(ids);
});
