import { readFileSync, readdirSync } from "node:fs";
import { type ModelFiles, memoryFiles } from "../../src/checkpoint/source.js";
import { qwen3File } from "./qwen3.js";

const fixtures = new URL("../fixtures/qwen3/", import.meta.url);
const demo = new URL("../../models/demo/", import.meta.url);

/** A prompt as transformers renders it, and what `generate` answers to it. */
export interface ExpectedAnswer {
  readonly prompt: string;
  readonly system?: string;
  readonly thinking?: boolean;
  readonly text: string;
  readonly ids: readonly number[];
  readonly greedy: readonly number[];
  /** With a repetition penalty of 1.3. */
  readonly penalised: readonly number[];
}

export type TinyQwen3 = "tied" | "untied";

export const expectedAnswers = JSON.parse(readFileSync(new URL("expected.json", fixtures), "utf8")) as Record<
  TinyQwen3,
  readonly ExpectedAnswer[]
>;

/**
 * Files of a tiny Qwen3 that transformers wrote, with the demo's tokenizer and Qwen3's own chat
 * template.
 */
export function qwen3Files(name: TinyQwen3): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const folder = new URL(`${name}/`, fixtures);
  for (const file of readdirSync(folder))
    files.set(file, new Uint8Array(readFileSync(new URL(file, folder))));
  files.set("tokenizer.json", new Uint8Array(readFileSync(new URL("tokenizer.json", demo))));
  const { chat_template } = qwen3File("tokenizer_config.json");
  const config = { chat_template, eos_token: "<|im_end|>", pad_token: null };
  files.set("tokenizer_config.json", new TextEncoder().encode(JSON.stringify(config)));
  return files;
}

/** The same as a directory in memory. `edit` changes the files. */
export function qwen3Directory(
  name: TinyQwen3,
  edit: (files: Map<string, Uint8Array>) => void = () => undefined,
): ModelFiles {
  const files = qwen3Files(name);
  edit(files);
  return memoryFiles("qwen3", files);
}
