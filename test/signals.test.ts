import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { binary, cli, errorLines, jsonLines } from "./helpers/cli.js";

// Real signals to child processes while a bar is up (a terminal that a preloaded module fakes): the
// exit code, the cursor, what was being written. Then a full disk, --quiet, --json for files that
// fail, and names with control characters.
const root = mkdtempSync(join(tmpdir(), "signals-"));
afterAll(() => rmSync(root, { recursive: true }));
const demo = fileURLToPath(new URL("../models/demo", import.meta.url));
const clip = join(demo, "clips", "en-seen-2.wav");

/** A module that runs before the command. */
function preload(name: string, text: string): string {
  const file = join(root, name);
  writeFileSync(file, text);
  return file;
}

/** Every write of a file handle fails as `code`, or never ends where it is "never". */
const faulty = (code: string): string => `
  import fs from "node:fs";
  process.stderr.isTTY = true;
  const handle = await fs.promises.open(${JSON.stringify(clip)});
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  const never = ${JSON.stringify(code)} === "never";
  prototype.write = async () => {
    if (!never) throw Object.assign(new Error("${code}: no space left on device, write"), { code: "${code}", syscall: "write" });
    process.stderr.write("writing\\n");
    await new Promise((resolve) => setTimeout(resolve, 3_600_000));
  };`;

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("%s: exit %d, the cursor back, nothing unfinished", async (signal, code) => {
  const out = join(root, signal);
  const load = preload(`${signal}.mjs`, faulty("never"));
  const child = spawn(process.execPath, ["--import", load, binary, "convert", demo, out], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
    if (text.includes("writing\n")) child.kill(signal);
  });
  expect(await new Promise((resolve) => child.on("close", resolve))).toBe(code);
  expect(text.lastIndexOf("\x1b[?25h")).toBeGreaterThan(text.lastIndexOf("\x1b[?25l"));
  expect(text).toContain("\x1b[?25l");
  expect(readdirSync(root).filter((name) => name.startsWith(`${signal}.`) && name.endsWith(".part"))).toEqual(
    [],
  );
  expect(existsSync(out)).toBe(false);
});

test("a full disk names the file, with the cursor back and nothing unfinished", async () => {
  const out = join(root, "full");
  const load = preload("full.mjs", faulty("ENOSPC"));
  const run = await cli(["convert", demo, out], { NODE_OPTIONS: `--import=${load}` });
  expect(run.code).toBe(1);
  expect(run.stderr).toMatch(
    /error: \S+full\/\S+: write: expected room for it, got a full disk; free some space, or name another place\n/,
  );
  expect(run.stderr.lastIndexOf("\x1b[?25h")).toBeGreaterThan(run.stderr.lastIndexOf("\x1b[?25l"));
  expect(readdirSync(root).filter((name) => name.includes(".part"))).toEqual([]);
});

test("--json has an object for each file that fails, --quiet leaves errors alone, names are escaped", async () => {
  const bad = join(root, "a\n\x1b[31m\u202eb.wav");
  writeFileSync(bad, "x");
  const run = await cli(["transcribe", "--quiet", "--json", "--language", "en", bad, "/no/such.wav", clip]);
  expect(run.code).toBe(1);
  expect(jsonLines(run)).toMatchObject([
    { file: bad, error: { name: "AudioError", field: "container" } },
    { file: "/no/such.wav", error: { code: "ENOENT" } },
    { file: clip, text: "remind me to take out the trash in ten minutes" },
  ]);
  expect(run.stdout).not.toContain("\u202e");
  const lines = run.stderr.split("\n").filter((line) => !/^(Warning: maxDynamic.*)?$/.test(line)); // Dawn prints past the command
  expect(lines).toEqual(errorLines(run));
  expect(lines[0]).toContain("a\\u000a\\u001b[31m\\u202eb.wav");
});

test.each([["transcribe"], ["translate", "--to", "en"], ["profile"]])(
  "%s: without a clip no model is loaded",
  async (...command) => {
    const run = await cli([...command, "--json", "--model", join(root, "no-model"), "/no/a.wav"]);
    expect(run.code).toBe(1);
    expect(jsonLines(run)).toMatchObject([{ file: "/no/a.wav", error: { code: "ENOENT" } }]);
    expect(errorLines(run)).toEqual([
      "error: /no/a.wav: expected a file of that name, got none; check the path",
    ]);
  },
);

test.each([["inspect"], ["convert"], ["evaluate"]])("%s --json: an object for what fails", async (name) => {
  const args = { inspect: [root], convert: [root, join(root, "o")], evaluate: ["--data", "/no/d.jsonl"] };
  const run = await cli([name, "--json", ...args[name as keyof typeof args]]);
  expect(run.code).toBe(1);
  const [object] = jsonLines(run);
  expect(object.error).toHaveProperty("message", errorLines(run)[0].replace("error: ", ""));
});
