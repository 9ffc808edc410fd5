import { bytes, count, table } from "../report/text.js";
import { createHash } from "node:crypto";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { encoderMismatch } from "../checkpoint/migrate/encoder-hash.js";
import { migratedConfig } from "../checkpoint/migrate/migrate.js";
import { type LlmCheckpoint, openLlm } from "../checkpoint/migrate/open-llm.js";
import {
  type AdaptorReuse,
  QWEN3,
  type TokenizerDifference,
  adaptorReuse,
  compareTokenizers,
} from "../checkpoint/migrate/reuse.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { LlmConfig, ModelConfig } from "../config/model-config.js";
import { modelFiles } from "../node/model-files.js";
import { type Footprint, footprint } from "../train/footprint.js";
import { findModel, weightFormats } from "./model.js";
import { print, shown } from "./output.js";

/** Tokens in the cache when the memory to run is counted: a minute of audio and its answer. */
const TOKENS = 1_500;

/**
 * The parts that a migration of this checkpoint keeps and makes anew, and the memory of the result.
 */
export interface ReuseReport {
  readonly encoderSha256: { readonly stated: string | null; readonly problem: string | null };
  readonly adaptor: Readonly<Record<string, AdaptorReuse>>;
  /** By model, this one under its own name, then by weight format. */
  readonly memory: Readonly<Record<string, Readonly<Record<WeightFormat, Footprint>>>>;
  readonly tokenizer: TokenizerDifference | null;
}

/**
 * Reads what a migration can reuse; `against` is the directory of an LLM, else Qwen3's released
 * sizes are compared.
 */
export async function reuseReport(checkpoint: Checkpoint, against: string | undefined): Promise<ReuseReport> {
  const { config } = checkpoint;
  const problem = (await encoderMismatch(checkpoint, createHash("sha256"))) ?? null;
  const encoderSha256 = { stated: config.encoderSha256 ?? null, problem };
  const thisModel = { [checkpoint.name]: await memory(config) };
  if (against === undefined) {
    const sizes = Object.entries(QWEN3);
    return {
      encoderSha256,
      adaptor: Object.fromEntries(sizes.map(([name, llm]) => [name, adaptorReuse(config, llm)])),
      memory: { ...thisModel, ...(await behind(config, sizes)) },
      tokenizer: null,
    };
  }
  const llm = await openLlm(modelFiles(await findModel(against)));
  try {
    return {
      encoderSha256,
      adaptor: { [against]: adaptorReuse(config, llm.config.llm) },
      memory: { ...thisModel, ...(await behind(config, [[against, llm.config.llm]])) },
      tokenizer: await difference(checkpoint, llm),
    };
  } finally {
    await llm.close();
  }
}

async function difference(checkpoint: Checkpoint, llm: LlmCheckpoint): Promise<TokenizerDifference | null> {
  for (const { tokenizerFiles } of [checkpoint.assets, llm.assets])
    if (tokenizerFiles && !(await tokenizerFiles.has("tokenizer.json"))) return null;
  return compareTokenizers(checkpoint.assets, llm.assets);
}

async function memory(config: ModelConfig): Promise<Record<WeightFormat, Footprint>> {
  const by: Partial<Record<WeightFormat, Footprint>> = {};
  for (const format of weightFormats) by[format] = await footprint(config, format, TOKENS);
  return by as Record<WeightFormat, Footprint>;
}

async function behind(
  source: ModelConfig,
  llms: readonly (readonly [string, LlmConfig])[],
): Promise<Record<string, Record<WeightFormat, Footprint>>> {
  const by: Record<string, Record<WeightFormat, Footprint>> = {};
  for (const [name, llm] of llms) by[name] = await memory(migratedConfig(source, llm));
  return by;
}

export function printReuse({ encoderSha256, adaptor, memory: sizes, tokenizer }: ReuseReport): void {
  if (encoderSha256.stated !== null) {
    const verdict =
      encoderSha256.problem === null
        ? "as stated, the one that the adaptor was made for"
        : "NOT the stated one";
    print(`\nencoder SHA-256 ${encoderSha256.stated.slice(0, 16)}…: ${verdict}`);
  }
  print(
    `\nmigrate keeps encoder, front-end and linear_1; the LLM's tokenizer comes with it. The adaptor behind another LLM:`,
  );
  const rows = Object.entries(adaptor).map(([name, a]) => [
    ...[name, String(a.width), `8 × ${a.headDim}`, `${a.changed.length} of ${a.tensors}`],
    ...[count(a.parametersNow), count(a.parametersThen), changes(a)],
  ]);
  const header = ["LLM", "width", "heads", "tensors that change", "parameters now", "then", "which"];
  print(table([header, ...rows], [1, 4, 5]));
  if (tokenizer) printTokenizer(tokenizer);
  print(
    `\nmemory on the GPU by --weights: weights / to run, with the cache of ${count(TOKENS)} tokens / to train the adaptor, without activations (train --plan counts those)`,
  );
  const cells = (f: Footprint): string => [f.weights, f.run, f.train].map(bytes).join(" / ");
  const lines = Object.entries(sizes).map(([name, by]) => [name, ...weightFormats.map((f) => cells(by[f]))]);
  print(table([["model", ...weightFormats], ...lines]));
}

function changes({ changed }: AdaptorReuse): string {
  if (changed.length === 0) return "none";
  const shape = (s?: readonly number[]): string => (s ? `[${s.join(", ")}]` : "none");
  const { name, before, after } = changed.find((t) => t.name.endsWith("linear_2.weight")) ?? changed[0];
  const rest = changed.length > 1 ? ", and all of the blocks" : "";
  return `${name.split("projector.")[1]} ${shape(before)} → ${shape(after)}${rest}`;
}

function printTokenizer(d: TokenizerDifference): void {
  const merges = d.sameMerges ? "the same merges" : "OTHER merges";
  const others = d.otherId + d.onlyHere + d.onlyThere;
  print(
    `\ntokenizer: ${count(d.same)} tokens with the same ids, ${merges}` +
      (others === 0
        ? ""
        : `; ${count(d.otherId)} with another id, ${count(d.onlyHere)} only here, ${count(d.onlyThere)} only there`),
  );
  for (const { token, here, there } of d.added)
    print(`  added token ${shown(token)}: ${here ?? "none"} here, ${there ?? "none"} there`);
}
