import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { type TinyQwen3, expectedAnswers, qwen3Directory } from "../../test/helpers/qwen3-directory.js";
import { tinyModel } from "../../test/helpers/tiny-model.js";
import type { ModelFiles } from "../checkpoint/source.js";
import type { GpuCounts } from "../gpu/device.js";
import { type GenerateOptions, type Generation, Generator } from "./generator.js";
import { DecodeError } from "./loop.js";

const gpu = useGpu();

async function withGenerator<T>(files: ModelFiles, use: (generator: Generator) => Promise<T>): Promise<T> {
  const generator = await Generator.load(gpu(), files);
  try {
    return await use(generator);
  } finally {
    generator.free();
  }
}

const answerAll = (files: ModelFiles, requests: readonly GenerateOptions[]): Promise<Generation[]> =>
  withGenerator(files, async (generator) => {
    const results: Generation[] = [];
    for (const request of requests) results.push(await generator.generate(request));
    return results;
  });

// Directories that transformers wrote: prompts, ids and 24 tokens of each answer are those of its
// own `generate`, greedy and with a repetition penalty; tied and untied, one file and shards, yarn
// past the original context.
describe.each<TinyQwen3>(["tied", "untied"])("%s: as transformers", (name) => {
  const answers = expectedAnswers[name];

  test("prompts and their ids", () =>
    withGenerator(qwen3Directory(name), (generator) => {
      expect(generator.chat).toMatchObject({ source: "template" });
      expect(generator.config.ropeScaling !== undefined).toBe(name === "untied");
      for (const answer of answers) {
        const text = generator.chat.render(answer);
        expect(text).toBe(answer.text);
        expect(generator.tokenizer.encode(text)).toEqual(answer.ids);
      }
      return Promise.resolve();
    }));

  test("greedy tokens", async () => {
    const results = await answerAll(
      qwen3Directory(name),
      answers.map((answer) => ({ ...answer, maxNewTokens: 24 })),
    );
    expect(results.map(({ tokenIds }) => tokenIds)).toEqual(answers.map(({ greedy }) => greedy));
    expect(results.map(({ promptTokens }) => promptTokens)).toEqual(answers.map(({ ids }) => ids.length));
  });

  test("with a repetition penalty", async () => {
    const results = await answerAll(
      qwen3Directory(name),
      answers.map((answer) => ({ ...answer, maxNewTokens: 24, sampling: { repetitionPenalty: 1.3 } })),
    );
    expect(results.map(({ tokenIds }) => tokenIds)).toEqual(answers.map(({ penalised }) => penalised));
  });
});

const request = { prompt: "What is this?", maxNewTokens: 12 };

describe("sampling", () => {
  const sampling = { temperature: 1.5, topK: 50, seed: 3 };

  test("a seed gives the same answer again, another seed another", async () => {
    const [first, again, other] = await answerAll(qwen3Directory("tied"), [
      { ...request, sampling },
      { ...request, sampling },
      { ...request, sampling: { ...sampling, seed: 4 } },
    ]);
    expect(again.tokenIds).toEqual(first.tokenIds);
    expect(again.text).toBe(first.text);
    expect(other.tokenIds).not.toEqual(first.tokenIds);
  });

  test("what leaves one token is the greedy answer", async () => {
    const options = [{ topK: 1 }, { topP: 0 }, { minP: 1 }, { temperature: 1e-3 }, { repetitionPenalty: 1 }];
    const results = await answerAll(qwen3Directory("tied"), [
      request,
      ...options.map((each) => ({ ...request, sampling: each })),
    ]);
    for (const { tokenIds } of results) expect(tokenIds).toEqual(results[0].tokenIds);
    expect(results[0].tokenIds).toEqual(expectedAnswers.tied[0].greedy.slice(0, 12));
  });

  test("an option out of range is refused before the GPU works", async () => {
    const { submits } = gpu().counts;
    await withGenerator(qwen3Directory("tied"), async (generator) => {
      await expect(generator.generate({ ...request, sampling: { topP: 2 } })).rejects.toThrow(
        new DecodeError("sampling: topP must be a number from 0 to 1, got 2"),
      );
    });
    expect(gpu().counts.submits).toBe(submits);
  });
});

const decoderDispatches = 6; // qkv with its norm, heads' norms with rotation and cache, attention, o, gate and up with norm and SwiGLU, down
const severalRows = 3; // dispatches more: both norms, SwiGLU

/** Counts of each token's steps. */
function countTokens(options: Partial<GenerateOptions>): Promise<GpuCounts[]> {
  return withGenerator(qwen3Directory("tied"), async (generator) => {
    const steps: GpuCounts[] = [];
    let before = gpu().counts;
    await generator.generate({
      ...request,
      maxNewTokens: 40,
      ...options,
      onText: () => {
        const after = gpu().counts;
        steps.push({
          dispatches: after.dispatches - before.dispatches,
          submits: after.submits - before.submits,
          pipelines: after.pipelines - before.pipelines,
          bindGroups: after.bindGroups - before.bindGroups,
        });
        before = after;
      },
    });
    return steps;
  });
}

// One submit a token of as many dispatches as the layers predict; greedy ends in an argmax, drawing
// reads the scores instead. A greedy token's step has been submitted when the token before it is
// handed over. No step after the first from the cache makes a pipeline or a bind group.
describe("counts", () => {
  test.each([
    ["greedy", {}, 1, 1],
    ["drawn", { sampling: { topK: 30, seed: 1 } }, 0, 0],
  ])("%s", async (_, options, argmax, ahead) => {
    const [prefill, first, ...rest] = await countTokens(options);
    const step = 1 + 2 * decoderDispatches + 2 + argmax; // embedding; norm, head
    const last = 2 - 2; // its rows of the last attention and of the attention's input are taken out; norm and SwiGLU of it alone
    const prompt = step + 2 * severalRows + last;
    expect(prefill).toMatchObject({ submits: 1 + ahead, dispatches: prompt + ahead * step });
    expect(first).toMatchObject({ submits: 1, dispatches: step });
    expect(rest.length).toBeGreaterThan(20); // a step without text joins the next
    const counted = rest.filter(({ submits }) => submits === 1);
    expect(counted.length).toBeGreaterThan(15);
    const expected: GpuCounts = { dispatches: step, submits: 1, pipelines: 0, bindGroups: 0 };
    expect(counted).toEqual(counted.map(() => expected));
  });
});

describe("the end of an answer", () => {
  test("a stop token: generation_config's, or ChatML's own", async () => {
    const third = expectedAnswers.tied[0].greedy[2];
    const [stopped] = await answerAll(
      qwen3Directory("tied", (files) =>
        files.set("generation_config.json", new TextEncoder().encode(`{"eos_token_id":[${third}]}`)),
      ),
      [request],
    );
    expect(stopped).toMatchObject({ finish: "stop", tokenIds: expectedAnswers.tied[0].greedy.slice(0, 2) });
  });

  test("the limit; repeats are not cut", async () => {
    const [short, long] = await answerAll(qwen3Directory("tied"), [
      { ...request, maxNewTokens: 1 },
      { ...request, maxNewTokens: 100 },
    ]);
    expect([short.finish, short.tokenIds.length]).toEqual(["length", 1]);
    expect([long.finish, long.tokenIds.length]).toEqual(["length", 100]);
  });

  test("as many tokens as the positions leave, and no more", async () => {
    await withGenerator(qwen3Directory("tied"), async (generator) => {
      const full = await generator.generate({ prompt: "What is this?" });
      expect(full.promptTokens + full.tokenIds.length).toBe(128);
      await expect(generator.generate({ prompt: "What is this?", maxNewTokens: 114 })).rejects.toThrow(
        new DecodeError(
          "generate: prompt and answer must fit the model's 128 positions, got 15 tokens and 114 new ones",
        ),
      );
      await expect(generator.generate({ prompt: "yes ".repeat(200) })).rejects.toThrow(
        /128 positions, got \d+/,
      );
    });
  });

  test("pieces joined are the text, and the GPU holds what it held", async () => {
    await withGenerator(qwen3Directory("untied"), async (generator) => {
      const { kept } = gpu().bytes;
      let joined = "";
      const result = await generator.generate({
        ...request,
        maxNewTokens: 60,
        onText: (text) => (joined += text),
      });
      expect(joined).toBe(result.text);
      expect(joined.length).toBeGreaterThan(20);
      expect(gpu().bytes).toMatchObject({ kept, live: 0 });
    });
    expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
  });
});

test("the LLM of a Fun-ASR checkpoint answers too, by the checkpoint's own template", async () => {
  const [plain, briefed] = await answerAll(await tinyModel({ seed: 5 }), [
    request,
    { ...request, system: "Be brief.", thinking: false },
  ]);
  expect(plain.tokenIds.length).toBeGreaterThan(0);
  expect(briefed.promptTokens).not.toBe(plain.promptTokens);
});
