import { isObject } from "../../json.js";
import type { LlmConfig, ModelConfig } from "../../config/model-config.js";
import { elementCount } from "../../shape.js";
import { countParameters, expectedTensors } from "../../config/expected-tensors.js";
import type { Assets } from "../layouts/layout.js";
import { migratedConfig } from "./migrate.js";

/** A tensor of the adaptor that a migration cannot keep. */
export interface ChangedTensor {
  readonly name: string;
  /** Absent: there is none. */
  readonly before?: readonly number[];
  readonly after?: readonly number[];
}

/** What becomes of the adaptor behind another LLM. */
export interface AdaptorReuse {
  readonly width: number;
  readonly headDim: number;
  readonly parametersNow: number;
  readonly parametersThen: number;
  /** Parameters of tensors whose shape stays, of which migrate keeps linear_1's. */
  readonly sameShape: number;
  /** Tensors of the one behind the LLM. */
  readonly tensors: number;
  /** Those of either that the other lacks or has in another shape. */
  readonly changed: readonly ChangedTensor[];
}

const ADAPTOR = "model.multi_modal_projector.";

/** Compares a checkpoint's adaptor with the one that it would have behind an LLM, counted from the shapes. */
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

/** How two tokenizers differ. */
export interface TokenizerDifference {
  /** Tokens that both have, under one id. */
  readonly same: number;
  /** Tokens that both have, under two ids. */
  readonly otherId: number;
  readonly onlyHere: number;
  readonly onlyThere: number;
  /** The merges are the same, in the same order. */
  readonly sameMerges: boolean;
  /** Added tokens that are not the same in both: id here, id there, null where there is none. */
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
