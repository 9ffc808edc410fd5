import { copyFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cli, expectRefusal, jsonLines } from "./helpers/cli.js";
import { llmFiles } from "./helpers/tiny-llm.js";
import { tinyFiles, writeDirectory } from "./helpers/tiny-model.js";

// Plan: `inspect` says what a migration keeps, changes and needs, counted from the files, for the
// released sizes or the LLM that is named; and whether the encoder is the one that the adaptor was
// made for.

let source: ReturnType<typeof writeDirectory>;
let llm: ReturnType<typeof writeDirectory>;
beforeAll(async () => {
  source = writeDirectory(await tinyFiles());
  llm = writeDirectory(await llmFiles());
});
afterAll(() => [source, llm].forEach((directory) => directory.remove()));

interface Reuse {
  readonly encoderSha256: { readonly stated: string | null; readonly problem: string | null };
  readonly adaptor: Record<string, { parametersNow: number; parametersThen: number; changed: object[] }>;
  readonly memory: Record<string, Record<string, { weights: number; run: number; train: number }>>;
  readonly tokenizer: object | null;
}
const reuse = async (...args: string[]): Promise<Reuse> =>
  jsonLines(await cli(["inspect", "--json", ...args]))[0]["reuse"] as Reuse;

test("the released sizes, or one LLM and its tokenizer", async () => {
  const all = await reuse(source.path);
  expect(Object.keys(all.adaptor)).toEqual(["Qwen3-0.6B", "Qwen3-1.7B", "Qwen3-4B", "Qwen3-8B"]);
  expect(all.encoderSha256).toEqual({ stated: null, problem: null });
  const one = await reuse(source.path, "--against", llm.path);
  expect(one.adaptor[llm.path].changed).toHaveLength(34);
  expect(one.tokenizer).toMatchObject({ same: 1058, sameMerges: true, added: [] });
  const { f32, bf16, q4 } = one.memory[llm.path];
  expect(bf16.weights).toBeLessThan(f32.weights);
  for (const { weights, run, train } of [f32, bf16, q4])
    expect(Math.min(run, train)).toBeGreaterThan(weights);
});

test("in words", async () => {
  const { stdout, code } = await cli(["inspect", source.path, "--against", llm.path]);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    / 96 +8 × 12 +34 of 36 .* linear_2\.weight \[64, 40\] → \[96, 40\], and all of the blocks\n/,
  );
  expect(stdout).toContain("tokenizer: 1,058 tokens with the same ids, the same merges\n");
  expect(stdout).toMatch(/^model +f32 +bf16 +f16 +q8 +q4$/m);
});

test("a checkpoint whose encoder was exchanged", async () => {
  const made = writeDirectory(new Map());
  const other = writeDirectory(await tinyFiles({ seed: 9 }));
  const [good, bad] = [join(made.path, "good"), join(made.path, "bad")];
  for (const [from, to] of [
    [source.path, good],
    [other.path, bad],
  ])
    await cli(["migrate", "--encoder", from, "--llm", llm.path, "--out", to]);
  expect((await reuse(good)).encoderSha256).toMatchObject({ problem: null });
  const shard = readdirSync(good).find((name) => name.startsWith("model-00001"))!;
  copyFileSync(join(bad, shard), join(good, shard));
  expect((await reuse(good)).encoderSha256.problem).toContain("the adaptor was made for encoder");
  expect((await cli(["inspect", good])).stdout).toContain("NOT the stated one");
  made.remove();
  other.remove();
});

test("an LLM that is none", async () => {
  const line = expectRefusal(await cli(["inspect", "--against", join(source.path, "none"), source.path]));
  expect(line).toContain("expected");
});
