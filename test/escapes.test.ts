import { table } from "../src/report/text.js";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { plainText } from "../src/errors.js";
import { bundleBytes, bundleParts } from "./helpers/bundles.js";
import { cli } from "./helpers/cli.js";
import { rawSafetensors, utf8 } from "./helpers/checkpoint.js";
import { tinyFiles, writeDirectory } from "./helpers/tiny-model.js";
import { wav } from "./helpers/wav.js";

// What strangers name (files, tensors, config's strings, cases, transcripts, tokens of the command
// line) cannot move the cursor, end a line or turn its direction: a table over the commands, and
// over the characters.
const hostile = "a\n\x1b[31m\u202e\u2028\x9b\x07b";
const root = mkdtempSync(join(tmpdir(), "escapes-"));
const at = (name: string): string => join(root, name);
let model: ReturnType<typeof writeDirectory>;
let wrong: ReturnType<typeof writeDirectory>;
beforeAll(async () => {
  const files = await tinyFiles();
  model = writeDirectory(files);
  const config = JSON.parse(Buffer.from(files.get("config.json")!).toString()) as object;
  files.set("config.json", utf8(JSON.stringify({ ...config, model_type: hostile })));
  wrong = writeDirectory(files);
  const parts = await bundleParts("encoder-1");
  parts.metadata.set("case", hostile);
  writeFileSync(at("case.safetensors"), await bundleBytes(parts));
  writeFileSync(at("tensor.safetensors"), rawSafetensors({ [hostile]: { dtype: hostile, shape: [1] } }, 4));
  const clip = at(`clip${hostile}.wav`);
  writeFileSync(clip, wav(0.4, 1));
  const lines = [
    { audio: clip, text: hostile },
    { audio: at(`no${hostile}.wav`), text: "x" },
    { audio: hostile, text: 3 },
  ];
  writeFileSync(at("data.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  writeFileSync(at("record.jsonl"), `${JSON.stringify({ line: hostile })}\n`);
  writeFileSync(at("metrics.jsonl"), `${JSON.stringify({ [hostile]: hostile })}\n`);
});
afterAll(() => {
  for (const directory of [model, wrong]) directory.remove();
  rmSync(root, { recursive: true });
});

const train = ["train", "--skip-bad", "--steps", "1", "--batch-tokens", "400"];
const commands: readonly (readonly [string, () => string[]])[] = [
  ["inspect: a config's string", () => ["inspect", wrong.path]],
  ["inspect --json", () => ["inspect", "--json", wrong.path]],
  ["convert: the name of what is to be written", () => ["convert", wrong.path, at(`file${hostile}/out`)]],
  [
    "transcribe: a clip's name",
    () => ["transcribe", "--model", model.path, at(`clip${hostile}.wav`), at("x.wav")],
  ],
  ["evaluate", () => ["evaluate", "--model", model.path, "--data", at("data.jsonl"), "--second", "0"]],
  ["evaluate --compare", () => ["evaluate", "--compare", at("record.jsonl"), at("record.jsonl")]],
  ["data", () => ["data", "jsonl", at("data.jsonl"), "--skip-bad", "--out", at(`o${hostile}`)]],
  [
    "data --json",
    () => ["data", "jsonl", at("data.jsonl"), "--skip-bad", "--json", "--out", at(`p${hostile}`)],
  ],
  [
    "train",
    () => [...train, "--model", model.path, "--data", at("data.jsonl"), "--out", at(`run${hostile}`)],
  ],
  ["train --report", () => ["train", "--report", root]],
  ["verify: a case's name", () => ["verify", at("case.safetensors")]],
  ["verify --json", () => ["verify", "--json", at("case.safetensors")]],
  ["verify: a tensor's name", () => ["verify", at("tensor.safetensors")]],
  ["a command that there is not", () => [`x${hostile}`]],
  ["an option that there is not", () => ["transcribe", `--x${hostile}`]],
  ["a value that an option does not take", () => ["transcribe", "--batch", hostile, "x"]],
];

const harmful = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|^\\u001b|^b"?$/mu;

test.each(commands)("%s", async (_, args) => {
  const { stdout, stderr } = await cli(args());
  for (const text of [stdout, stderr]) expect(text).not.toMatch(harmful);
  expect(stdout + stderr).toMatch(/\\u001b/);
});

test("what is harmless stays; cells of tables are one line", () => {
  const text = "a\tb\nسلام\u200f 你好 🙂";
  expect(plainText(text)).toBe(text);
  expect(table([["a\nb", "c"]])).toBe("a\\u000ab  c");
});
