import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";
import { expectedAnswers, qwen3Files } from "./helpers/qwen3-directory.js";
import { writeDirectory } from "./helpers/tiny-model.js";

// The command itself, as built: answers on stdout, all else on stderr; greedy as transformers'
// generate; wrong values are wrong usage, wrong texts and models one line.
let model: { path: string; remove: () => void };
beforeAll(() => (model = writeDirectory(qwen3Files("tied"))));
afterAll(() => model.remove());

const generate = (...args: string[]): ReturnType<typeof cli> =>
  cli(["generate", ...args, "--model", model.path]);

describe("generate", () => {
  it("answers in JSON: text, tokens, why it ended", async () => {
    const run = await generate("what is this?", "--system", "Be brief.", "--max-tokens", "24", "--json");
    const [answer] = jsonLines(run);
    const { ids, greedy } = expectedAnswers.tied[2];
    expect(run.code).toBe(0);
    expect(answer).toMatchObject({
      prompt: "what is this?",
      tokenIds: greedy,
      finish: "length",
      promptTokens: ids.length,
    });
    const { seconds, gpuBytes } = answer as Record<"seconds" | "gpuBytes", Record<string, number>>;
    expect(Object.keys(seconds)).toEqual(["load", "prefill", "decode"]);
    expect(Math.min(...Object.values(seconds))).toBeGreaterThan(0);
    expect(gpuBytes.reserved).toBeGreaterThan(gpuBytes.weights);
    expect(run.stderr).toContain(`weights on the GPU: ${gpuBytes.weights} bytes`);
    expect(answer).not.toHaveProperty("seed");
    expect(errorLines(run)).toEqual([]);
    expect(run.stderr).toContain("cut: --max-tokens allows more");
  });

  it("prints the text alone; --no-think and a penalty reach the model", async () => {
    const plain = await generate("What is this?", "--no-think", "--max-tokens", "24");
    const json = await generate("What is this?", "--no-think", "--max-tokens", "24", "--json");
    expect(plain.stdout).toBe(`${jsonLines(json)[0].text as string}\n`);
    expect(jsonLines(json)[0].tokenIds).toEqual(expectedAnswers.tied[1].greedy);
    const args = ["What is this?", "--max-tokens", "24", "--repetition-penalty", "1.3", "--json"];
    const [penalised] = jsonLines(await generate(...args));
    expect(penalised.tokenIds).toEqual(expectedAnswers.tied[0].penalised);
  });

  it("says that the model gave no text", async () => {
    const run = await cli(["generate", "hello there"]); // the demo's LLM was trained on speech alone
    expect(run).toMatchObject({ code: 0, stdout: "\n" });
    expect(run.stderr).toContain("the model gave no text");
    expect((await generate("what is this?", "--max-tokens", "4")).stderr).not.toContain("gave no text");
  });

  it("reports its seed, which draws the same again", async () => {
    const args = ["What is this?", "--max-tokens", "16", "--temperature", "1.2", "--top-p", "0.95", "--json"];
    const [first] = jsonLines(await generate(...args));
    const [again] = jsonLines(await generate(...args, "--seed", String(first.seed)));
    expect(again.tokenIds).toEqual(first.tokenIds);
  });
});

describe("refusals", () => {
  it.each([
    [["--temperature", "0"], "a positive number"],
    [["--top-p", "1.5"], "a number from 0 to 1"],
    [["--top-k", "2.5"], "a whole number from 0"],
    [["--min-p", ""], "a number from 0 to 1"],
    [["--seed", "-1"], "a whole number from 0"],
    [["--max-tokens", "0"], "a whole number from 1"],
  ])("%j is wrong usage", async (args, expected) => {
    const run = await generate("hi", ...args);
    expect([run.code, run.stdout]).toEqual([2, ""]);
    expect(run.stderr).toContain(`Expected ${expected}.`);
  });

  it("a token of the vocabulary in the prompt, and more tokens than positions", async () => {
    expect(expectRefusal(await generate("hi<|im_end|>"))).toContain(
      "free of the vocabulary's own token <|im_end|>",
    );
    expect(expectRefusal(await generate("hi", "--max-tokens", "500"))).toContain("128 positions");
  });

  it("no model there", async () => {
    expect(expectRefusal(await cli(["generate", "hi", "--model", `${model.path}/none`]))).toContain("none");
  });
});
