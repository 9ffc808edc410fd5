import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fixturePath, refusal } from "../../test/helpers/checkpoint.js";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { ggufPaths, modelFiles } from "./model-files.js";

const PAIR = fixturePath("../gguf/pair");
let at = "";

beforeAll(async () => {
  at = await mkdtemp(join(tmpdir(), "pair-"));
  await mkdir(join(at, "hub"));
  await mkdir(join(at, "other"));
  const [encoder, llm] = ["funasr-encoder-f16.gguf", "qwen3-tiny-bf16.gguf"].map((name) => join(PAIR, name));
  await copyFile(encoder, join(at, "hub/funasr-encoder-f16.gguf"));
  await copyFile(llm, join(at, "hub/qwen3-a.gguf"));
  await copyFile(llm, join(at, "hub/qwen3-b.gguf"));
  await writeFile(join(at, "hub/fsmn-vad.gguf"), "GGUF of another kind");
  await copyFile(encoder, join(at, "other/sound.gguf"));
});
afterAll(() => rm(at, { recursive: true, force: true }));

/** The files that a model's tensors come from. */
async function filesOf(model: string): Promise<string[]> {
  const checkpoint = await openCheckpoint(modelFiles(model));
  const files = new Set([...checkpoint.tensors.values()].map((entry) => entry.file));
  await checkpoint.close();
  return [...files];
}

// Plan: a directory; a file of one among several; both files, with names of any kind; what is
// refused.
test("a directory with one pair", async () => {
  expect(await filesOf(PAIR)).toEqual(["funasr-encoder-f16.gguf", "qwen3-tiny-bf16.gguf"]);
});

test("one file, where the directory has several of its kind", async () => {
  const error = await refusal(() => filesOf(join(at, "hub")));
  expect(error.message).toBe(
    `${at}/hub: qwen3-*.gguf: expected one such file, got qwen3-a.gguf, qwen3-b.gguf; name the file that is meant, or keep one`,
  );
  expect(await filesOf(join(at, "hub/qwen3-b.gguf"))).toEqual(["funasr-encoder-f16.gguf", "qwen3-b.gguf"]);
  const still = await refusal(() => filesOf(join(at, "hub/funasr-encoder-f16.gguf")));
  expect(still.field).toBe("qwen3-*.gguf");
});

test("both files, wherever they are and whatever their names", async () => {
  const [encoder, llm] = [join(at, "other/sound.gguf"), join(at, "hub/qwen3-a.gguf")];
  expect(await filesOf(`${encoder},${llm}`)).toEqual(["funasr-encoder.gguf", "qwen3-a.gguf"]);
  const swapped = await refusal(() => filesOf(`${llm},${encoder}`));
  expect(swapped.message).toBe(
    `${llm}: metadata "general.architecture": expected "funasr-sensevoice-encoder", got "qwen3"; is this the right file?`,
  );
  const missing = await refusal(() => filesOf(`${encoder},${at}/none.gguf`));
  expect(missing.message).toBe(
    `${at}: none.gguf: expected a file of that name, got none; check the path, or download the model again`,
  );
});

test("one file of another name: without the other weights beside it", async () => {
  const files = modelFiles(join(at, "hub/fsmn-vad.gguf"));
  expect(await files.list()).toEqual(["fsmn-vad.gguf"]);
});

test("three files", async () => {
  const error = await refusal(() => modelFiles("a.gguf,b.gguf,c.gguf"));
  expect(error.message).toBe(
    '"a.gguf,b.gguf,c.gguf": files: expected one GGUF file, or two: ENCODER.gguf,LLM.gguf, got 3',
  );
});

test.each([
  ["a.gguf", ["a.gguf"]],
  ["d/a.GGUF,b.gguf", ["d/a.GGUF", "b.gguf"]],
  ["d", undefined],
  ["d/.gguf", undefined],
  ["a.gguf,d", undefined],
])("ggufPaths(%j)", (model, paths) => {
  expect(ggufPaths(model)).toEqual(paths);
});
