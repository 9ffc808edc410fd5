import { isObject } from "../../json.js";
import type { LlmConfig, ModelConfig } from "../../config/model-config.js";
import { elementCount } from "../../shape.js";
import { countParameters, expectedTensors } from "../../config/expected-tensors.js";
import type { Assets } from "../layouts/layout.js";
import { migratedConfig } from "./migrate.js";

/** A tensor of the adaptor that a migration cannot keep. */
export interface ChangedTensor {
  readonly name: string;
  /** Shape; absent: no such tensor. */
  readonly before?: readonly number[];
  readonly after?: readonly number[];
}

/** The parts of an adaptor that a migration to another LLM can keep. */
export interface AdaptorReuse {
  readonly width: number;
  readonly headDim: number;
  readonly parametersNow: number;
  readonly parametersThen: number;
  /** Parameters of tensors with the same shape. migrate keeps those of linear_1. */
  readonly sameShape: number;
  /** Tensors of the new adaptor. */
  readonly tensors: number;
  /** Tensors that only one adaptor has, or that differ in shape. */
  readonly changed: readonly ChangedTensor[];
}

const ADAPTOR = "model.multi_modal_projector.";

/** Compares a checkpoint's adaptor with the one for another LLM, by shapes. */
export function adaptorReuse(source: ModelConfig, llm: LlmConfig, blocks?: number): AdaptorReuse {
  const target = migratedConfig(source, llm, blocks);
  const [before, after] = [source, target].map(
    (config) => new Map([...expectedTensors(config)].filter(([name]) => name.startsWith(ADAPTOR))),
  );
  const changed: ChangedTensor[] = [];
  let sameShape = 0;
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [a, b] = [before.get(name), after.get(name)];
    if (a && b && a.join() === b.join()) sameShape += elementCount(a);
    else changed.push({ name, ...(a ? { before: a } : {}), ...(b ? { after: b } : {}) });
  }
  return {
    width: llm.hiddenSize,
    headDim: llm.hiddenSize / target.adaptor.heads,
    parametersNow: countParameters(source).adaptor,
    parametersThen: countParameters(target).adaptor,
    sameShape,
    tensors: after.size,
    changed,
  };
}

/** Qwen3's released sizes. @source their config.json */
export const QWEN3: Readonly<Record<string, LlmConfig>> = Object.fromEntries(
  (
    [
      ["Qwen3-0.6B", 1024, 3072, 28, 16, true],
      ["Qwen3-1.7B", 2048, 6144, 28, 16, true],
      ["Qwen3-4B", 2560, 9728, 36, 32, true],
      ["Qwen3-8B", 4096, 12288, 36, 32, false],
    ] as const
  ).map(([name, hiddenSize, intermediateSize, layers, heads, tiedHead]) => [
    name,
    {
      vocabSize: 151_936,
      hiddenSize,
      intermediateSize,
      layers,
      heads,
      kvHeads: 8,
      headDim: 128,
      rmsNormEps: 1e-6,
      ropeTheta: 1e6,
      tiedHead,
      maxPositions: 40_960,
    },
  ]),
);

/** Differences between two tokenizers. */
export interface TokenizerDifference {
  /** Tokens with the same id in both. */
  readonly same: number;
  /** Tokens with different ids. */
  readonly otherId: number;
  readonly onlyHere: number;
  readonly onlyThere: number;
  /** Both have the same merges in the same order. */
  readonly sameMerges: boolean;
  /** Added tokens with different ids. null: no such token. */
  readonly added: readonly {
    readonly token: string;
    readonly here: number | null;
    readonly there: number | null;
  }[];
}

interface Vocabulary {
  readonly ids: ReadonlyMap<string, number>;
  readonly added: ReadonlyMap<string, number>;
  readonly merges: string;
}

/** Compares the vocabularies, merges and added tokens of two tokenizer.json. */
export async function compareTokenizers(here: Assets, there: Assets): Promise<TokenizerDifference> {
  const [a, b] = [await readVocabulary(here), await readVocabulary(there)];
  const shared = [...a.ids].filter(([token]) => b.ids.has(token));
  const same = shared.filter(([token, id]) => b.ids.get(token) === id).length;
  const added = [...new Set([...a.added.keys(), ...b.added.keys()])]
    .map((token) => ({ token, here: a.added.get(token) ?? null, there: b.added.get(token) ?? null }))
    .filter((token) => token.here !== token.there);
  return {
    same,
    otherId: shared.length - same,
    onlyHere: a.ids.size - shared.length,
    onlyThere: b.ids.size - shared.length,
    sameMerges: a.merges === b.merges,
    added,
  };
}

async function readVocabulary(assets: Assets): Promise<Vocabulary> {
  const { json } = await assets.tokenizer();
  const model = isObject(json["model"]) ? json["model"] : {};
  const vocab = isObject(model["vocab"]) ? Object.entries(model["vocab"]) : [];
  const list: unknown[] = Array.isArray(json["added_tokens"]) ? json["added_tokens"] : [];
  const added = list.filter(isObject).map(({ content, id }) => [String(content), Number(id)] as const);
  const merges: unknown[] = Array.isArray(model["merges"]) ? model["merges"] : [];
  return {
    ids: new Map([...vocab.map(([token, id]) => [token, Number(id)] as const), ...added]),
    added: new Map(added),
    merges: merges.map((merge) => (Array.isArray(merge) ? merge.join(" ") : String(merge))).join("\n"),
  };
}
