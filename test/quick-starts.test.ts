import { execFile, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { at, quickStarts } from "./helpers/quick-starts.js";
import { type Serving, serve } from "./helpers/serve.js";

// Plan: the code that stands in docs/serving.md runs against a real server, with its address alone
// changed, and prints the clip's text. `npm run check:clients` runs the blocks in Python.

const root = fileURLToPath(new URL("../", import.meta.url));
const text = "set the oven to eighty two degrees";
const blocks = quickStarts();
const runs = {
  sh: (code: string): [string, string[]] => ["sh", ["-ec", code]],
  js: (code: string): [string, string[]] => [process.execPath, ["--input-type=module", "-e", code]],
} as const;
const hasCurl = spawnSync("curl", ["--version"]).status === 0;
let serving: Serving;
beforeAll(async () => {
  serving = await serve();
});
afterAll(() => serving.end());

test("the page has these quick starts", () => {
  expect(blocks.map(({ language }) => language)).toEqual(["sh", "js", "python", "python"]);
  for (const { code } of blocks) expect(code).toContain("127.0.0.1:8000");
});

test.for(["sh", "js"] as const)("%s", async (language, { skip }) => {
  skip(language === "sh" && !hasCurl, "there is no curl");
  const block = blocks.find((one) => one.language === language)!;
  const [program, args] = runs[language](at(serving.address, block));
  const { stdout } = await promisify(execFile)(program, args, { cwd: root });
  expect(stdout).toContain(text);
});
