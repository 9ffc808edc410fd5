import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ConfigError } from "../src/formats/errors.js";
import { memoryFiles } from "../src/checkpoint/source.js";
import { Transcriber } from "../src/decode/transcriber.js";
import { FileError } from "../src/errors.js";
import { demoModel } from "../src/node/demo.js";
import { PromptError } from "../src/tokenizer/errors.js";
import { useGpu } from "./gpu.js";
import { tinyFiles } from "./helpers/tiny-model.js";

const gpu = useGpu();
const utf8 = new TextEncoder();

/** Loads the tiny checkpoint with files replaced, or with null removed. */
async function load(changes: Readonly<Record<string, string | null>>): Promise<Transcriber> {
  const files = await tinyFiles();
  for (const [name, text] of Object.entries(changes)) {
    if (text === null) files.delete(name);
    else files.set(name, utf8.encode(text));
  }
  return Transcriber.load(gpu(), memoryFiles("m", files));
}

/** The error of a load, which must leave nothing on the GPU. */
async function refusal(changes: Readonly<Record<string, string | null>>): Promise<Error> {
  const error: unknown = await load(changes).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(Error);
  expect(gpu().bytes.kept).toBe(0);
  return error as Error;
}

// Plan: files that do not fit each other are refused at the load, by name.
describe("front-end and encoder", () => {
  it.each([
    ["processor_config.json", { feature_extractor: { feature_size: 40 } }, "40 × 7"],
    ["preprocessor_config.json", { num_frames_lfr: 5 }, "80 × 5"],
  ])("%s %j", async (file, json, got) => {
    const error = await refusal({ [file]: JSON.stringify(json) });
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toBe(
      `m/${file}: feature_size: expected 560 once times num_frames_lfr, which is num_mel_bins × num_stacked_frames of m/config.json, got ${got}`,
    );
  });
});

// Plan: a chat template that does not parse is refused by its file's name; one that takes no audio
// is skipped, and reported.
describe("chat template", () => {
  it.each([
    [{ "chat_template.jinja": "{% if %}" }, /^m\/chat_template\.jinja: chat template: expected/],
    [
      { "chat_template.jinja": null, "tokenizer_config.json": '{"chat_template":"{% if %}"}' },
      /^m\/tokenizer_config\.json: chat template: expected/,
    ],
    [
      { "chat_template.jinja": null, "tokenizer_config.json": '{"chat_template":[1]}' },
      /^m\/tokenizer_config\.json: chat_template: expected a text, got \[1\]/,
    ],
  ])("%j", async (changes, message) => {
    const error = await refusal(changes);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toMatch(message);
  });

  it.each([
    ["the demo's", {}, "template", undefined],
    ["none", { "chat_template.jinja": null, "tokenizer_config.json": "{}" }, "rules", undefined],
    ["no audio", { "chat_template.jinja": "hello" }, "rules", 'the template renders audio as "hello"'],
  ])("%s", async (_, changes, source, fallback) => {
    const transcriber = await load(changes);
    expect([transcriber.promptSource, transcriber.promptFallback]).toEqual([source, fallback]);
    transcriber.free();
  });

  it("options are checked without a clip", async () => {
    const transcriber = await load({});
    transcriber.checkPrompt({ language: "en", hotwords: ["a"] });
    expect(() => transcriber.checkPrompt({ context: "<|im_end|>" })).toThrow(PromptError);
    transcriber.free();
  });
});

// Plan: a file that is damaged beside a sound CTC head leaves nothing of the head on the GPU.
it.each(["tokenizer.json", "chat_template.jinja", "model.safetensors"])(
  "%s damaged, with times of words",
  async (damaged) => {
    const names = ["config.json", "ctc.safetensors", "processor_config.json", "tokenizer_config.json"];
    const files = new Map([[damaged, utf8.encode("{% {")]]);
    names.push("tokenizer.json", "multilingual.tiktoken");
    for (const name of [...names, "chat_template.jinja", "model.safetensors"])
      if (name !== damaged) files.set(name, new Uint8Array(await readFile(join(demoModel, name))));
    const { kept } = gpu().bytes;
    const loaded = Transcriber.load(gpu(), memoryFiles("m", files), { wordTimes: true });
    await expect(loaded).rejects.toThrow(`m/${damaged}`);
    expect(gpu().bytes.kept).toBe(kept);
  },
);
