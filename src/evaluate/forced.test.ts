import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bundlePath } from "../../test/helpers/bundles.js";
import { tinyModel } from "../../test/helpers/tiny-model.js";
import { useGpu } from "../../test/gpu.js";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { readFloat32, readTensor } from "../checkpoint/safetensors/safetensors.js";
import type { ByteSource } from "../checkpoint/source.js";
import type { Tensor } from "../gpu/tensor.js";
import {
  type FunAsrNano,
  type PromptTokens,
  adapt,
  encode,
  loadFunAsrNano,
  promptEmbeddings,
} from "../model/fun-asr-nano.js";
import { loadLanguageModel } from "../model/qwen3.js";
import { openFile } from "../node/files.js";
import {
  type Bundle,
  bundleConfig,
  bundleParameters,
  openBundle,
  readIds,
  readLengths,
} from "../verify/bundle.js";
import { type ForcedSequence, type ForcedToken, agreement, force } from "./forced.js";
import { EvaluateError } from "./metrics/edits.js";

const gpu = useGpu();
const skipped = new Set(["llm-loud", "llm-real-4096"]); // begins behind the ids; five tokens, seconds of loading
const names = readdirSync(new URL("../../golden/bundles/", import.meta.url)).map((file) =>
  basename(file, ".safetensors"),
);

const opened: ByteSource[] = [];
afterAll(() => Promise.all(opened.map((source) => source.close())));

async function goldenBundle(name: string): Promise<Bundle> {
  const source = await openFile(bundlePath(name));
  opened.push(source);
  return openBundle(source);
}

function cut<T>(rows: readonly T[], lengths: readonly number[]): T[][] {
  let at = 0;
  return lengths.map((length) => rows.slice(at, (at += length)));
}

/** The prompts' tokens of a bundle by sequence, and transformers' scores of them in f64 [S, V]. */
async function goldenScores(bundle: Bundle): Promise<{ sequences: number[][]; scores: Float64Array }> {
  const ids = await readIds(bundle, "input.token_ids");
  const sequences = cut(ids, await readLengths(bundle, "input.token_segments", ids.length));
  const bytes = await readTensor(bundle.file, "f64.logits");
  return { sequences, scores: new Float64Array(bytes.slice().buffer) };
}

/** What transformers in f64 says of each token but the first of each sequence. */
function expectedTokens(sequences: readonly number[][], scores: Float64Array): ForcedToken[][] {
  const width = scores.length / sequences.flat().length;
  let row = 0;
  return sequences.map((ids) => {
    const rows = ids.map(() => scores.subarray(row * width, ++row * width));
    return ids.slice(1).map((id, i) => {
      const top = rows[i].reduce((best, score, j) => (score > rows[i][best] ? j : best), 0);
      const sum = rows[i].reduce((total, score) => total + Math.exp(score - rows[i][top]), 0);
      return { id, top, logProbability: rows[i][id] - rows[i][top] - Math.log(sum) };
    });
  });
}

function expectTokens(got: readonly ForcedToken[][], want: readonly ForcedToken[][]): void {
  const bare = (tokens: readonly ForcedToken[]): unknown => tokens.map(({ id, top }) => [id, top]);
  expect(got.map(bare)).toEqual(want.map(bare));
  const errors = got.flat().map(({ logProbability }, i) => logProbability - want.flat()[i].logProbability);
  for (const error of errors) expect(Math.abs(error)).toBeLessThan(2e-5);
}

async function withAudio<T>(
  bundle: Bundle,
  use: (model: FunAsrNano, embed: (sequences: readonly ForcedSequence[]) => () => Tensor) => Promise<T>,
): Promise<T> {
  const config = bundleConfig(bundle);
  const model = await loadFunAsrNano(gpu(), config, bundleParameters(bundle, config));
  let audio: Tensor | undefined;
  try {
    const features = await readFloat32(bundle.file, "input.features");
    const frames = await readLengths(bundle, "input.segments", features.length / config.encoder.inputSize);
    await gpu().step(() => {
      audio = gpu().hold(adapt(gpu(), model, encode(gpu(), model, { features, frames }), frames));
      return [];
    });
    return await use(model, (sequences) => () => {
      const prompts = sequences.map(({ ids }): PromptTokens => ({
        ids,
        audioOffset: ids.indexOf(config.audioTokenId),
        audioLength: ids.filter((id) => id === config.audioTokenId).length,
      }));
      return promptEmbeddings(gpu(), model, prompts, audio!);
    });
  } finally {
    if (audio) gpu().release(audio);
    model.free();
  }
}

// Plan: the likeliest token and the log-probability of every token of the goldens' prompts are
// transformers' in f64; the answers that transformers generated are the likeliest at each position,
// all of them.
describe("transformers", () => {
  it.each(names.filter((name) => name.startsWith("llm-") && !skipped.has(name)))("%s", async (name) => {
    const bundle = await goldenBundle(name);
    const config = bundleConfig(bundle);
    const model = await loadLanguageModel(gpu(), config.llm, bundleParameters(bundle, config));
    const { sequences, scores } = await goldenScores(bundle);
    const got = await force(
      gpu(),
      model.llm,
      sequences.map((ids) => ({ ids, first: 1 })),
    );
    model.free();
    expectTokens(got, expectedTokens(sequences, scores));
    expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
  });

  const withFeatures = names.filter((name) => /^model-(?!.*(wave))/.test(name));
  it.each(withFeatures)("%s", async (name) => {
    const bundle = await goldenBundle(name);
    const { sequences, scores } = await goldenScores(bundle);
    const answers = await readIds(bundle, "generated_ids");
    const steps = answers.length / sequences.length;
    await withAudio(bundle, async (model, embed) => {
      const prompts = sequences.map((ids) => ({ ids, first: 1 }));
      const got = await force(gpu(), model.llm, prompts, { embed: embed(prompts) });
      expectTokens(got, expectedTokens(sequences, scores));
      const answered = sequences.map((ids, i) => ({
        ids: [...ids, ...answers.slice(i * steps, (i + 1) * steps)],
        first: ids.length,
      }));
      const tokens = await force(gpu(), model.llm, answered, { embed: embed(answered) });
      expect(tokens.flat().map(({ id }) => id)).toEqual(answers);
      expect(agreement(tokens.flat())).toMatchObject({ positions: answers.length, agreement: 1 });
    });
    expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
  });
});

// Plan: scores come in pieces whose size does not matter; a sequence's tokens do not depend on its
// neighbours; rounded weights agree less; what cannot be scored is refused and leaves nothing on
// the GPU.
describe("force", () => {
  const sequences = [
    { ids: [5, 9, 300, 41, 7, 7, 812], first: 3 },
    { ids: [17, 4, 4], first: 1 },
  ];

  async function withModel<T>(use: (model: FunAsrNano) => Promise<T>): Promise<T> {
    const checkpoint = await openCheckpoint(await tinyModel({ seed: 5 }));
    const model = await loadFunAsrNano(gpu(), checkpoint.config, checkpoint);
    try {
      return await use(model);
    } finally {
      model.free();
      await checkpoint.close();
      expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
    }
  }

  it("gives each sequence what it is alone", () =>
    withModel(async ({ llm }) => {
      const together = await force(gpu(), llm, sequences);
      expect(together.map((tokens) => tokens.length)).toEqual([4, 2]);
      for (const [i, sequence] of sequences.entries())
        expect(await force(gpu(), llm, [sequence])).toEqual([together[i]]);
    }));

  it("shows all scores to who asks", () =>
    withModel(async ({ llm }) => {
      const seen: number[] = [];
      await force(gpu(), llm, sequences, {
        onLogits: (logits, first) => seen.push(first, logits.length / llm.config.vocabSize),
      });
      expect(seen).toEqual([0, 6]);
    }));

  it.each([
    [0, "expected its answer to begin at a token from 1 to 2, got 0"],
    [3, "expected its answer to begin at a token from 1 to 2, got 3"],
  ])("refuses an answer that begins at %i", (first, message) =>
    withModel(async ({ llm }) => {
      const failed = force(gpu(), llm, [{ ids: [1, 2, 3], first }]);
      await expect(failed).rejects.toThrow(EvaluateError);
      await expect(failed).rejects.toThrow(message);
    }),
  );
});
