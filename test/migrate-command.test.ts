import { copyFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cli, expectRefusal, jsonLines } from "./helpers/cli.js";
import { llmFiles } from "./helpers/tiny-llm.js";
import { tinyFiles, writeDirectory } from "./helpers/tiny-model.js";
import { wav } from "./helpers/wav.js";

// Plan: the command writes a checkpoint that transcribes; what is there is never touched; a
// checkpoint whose encoder was exchanged for another gives a warning when it is loaded; wrong usage
// is exit 2.

let source: ReturnType<typeof writeDirectory>;
let other: ReturnType<typeof writeDirectory>;
let llm: ReturnType<typeof writeDirectory>;
let out: ReturnType<typeof writeDirectory>;
const migrate = (to: string, ...rest: string[]): ReturnType<typeof cli> =>
  cli(["migrate", "--encoder", source.path, "--llm", llm.path, "--out", to, ...rest]);

beforeAll(async () => {
  source = writeDirectory(await tinyFiles());
  other = writeDirectory(await tinyFiles({ seed: 9 }));
  llm = writeDirectory(await llmFiles());
  out = writeDirectory(new Map([["clip.wav", wav(0.4, 1)]]));
});
afterAll(() => [source, other, llm, out].forEach((directory) => directory.remove()));

describe("migrate", () => {
  test("says what it kept and made, in words and as JSON", async () => {
    const words = await migrate(join(out.path, "words"));
    expect(words.code).toBe(0);
    expect(words.stdout).toMatch(/encoder +[\d,]+ +bit for bit the source's, SHA-256 [0-9a-f]{64}\n/);
    expect(words.stdout).toMatch(/adaptor +[\d,]+ +new at 96, 2 blocks, 8 heads of 12, seed 0; 1,320 kept\n/);
    expect(words.stderr).toContain("the new adaptor is untrained");
    const run = await migrate(
      join(out.path, "json"),
      "--blocks",
      "4",
      "--seed",
      "7",
      "--reuse",
      "none",
      "--json",
    );
    const [result] = jsonLines(run);
    expect(result).toMatchObject({ seed: 7, adaptorKept: 0, audioTokenId: 1035, emptyThought: false });
    expect(result["adaptor"]).toHaveLength(4 + 4 * 16);
    expect(readdirSync(join(out.path, "json")).sort()).toEqual([...(result["files"] as string[])].sort());
  });

  test("a directory in use is refused and left as it is", async () => {
    const line = expectRefusal(await migrate(out.path));
    expect(line).toMatch(/directory: expected a new or an empty directory, got one that holds \d+ files?/);
    expect(readdirSync(out.path)).toContain("clip.wav");
  });

  test("an exchanged encoder gives a warning when the checkpoint is loaded", async () => {
    const [good, bad] = [join(out.path, "good"), join(out.path, "bad")];
    await migrate(good);
    await cli(["migrate", "--encoder", other.path, "--llm", llm.path, "--out", bad]);
    const transcribe = (): ReturnType<typeof cli> =>
      cli(["transcribe", join(out.path, "clip.wav"), "--model", good, "--max-tokens", "2"]);
    const before = await transcribe();
    expect(before.code).toBe(0);
    expect(before.stderr).not.toContain("encoder_sha256");
    const shard = readdirSync(good).find((name) => name.startsWith("model-00001"))!;
    copyFileSync(join(bad, shard), join(good, shard));
    const after = await transcribe();
    expect(after.code).toBe(0);
    expect(after.stderr).toMatch(
      /^warning: .*config\.json: encoder_sha256: the adaptor was made for encoder /m,
    );
  });

  test.each([
    [["--encoder", "a", "--llm", "b"], "required option '--out <dir>' not specified"],
    [
      ["--encoder", "a", "--llm", "b", "--out", "c", "--blocks", "-1"],
      "Expected a whole number from 0 to 16.",
    ],
    [["--encoder", "a", "--llm", "b", "--out", "c", "--seed", "4294967296"], "from 0 to 4294967295"],
    [["--encoder", "a", "--llm", "b", "--out", "c", "--reuse", "all"], "Allowed choices are linear_1, none."],
  ])("%j is wrong usage", async (args, complaint) => {
    const run = await cli(["migrate", ...args]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain(complaint);
  });
});
