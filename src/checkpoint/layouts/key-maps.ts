import { show } from "../../json.js";
import { type CheckpointError, checkpointError } from "../../formats/errors.js";

/** Layers up to the last transcription layer, and all layers. Both include the stem. */
interface LayerCounts {
  readonly transcription: number;
  readonly total: number;
}

/** One rewriting step. Rules apply in order, each to the result of those before it. */
interface Rule {
  readonly from: RegExp;
  /** A replacement string ($1 …), or a function of the match's groups. */
  readonly to: string | ((counts: LayerCounts, ...groups: string[]) => string);
}

/** One released spelling of the tensor names. */
export interface KeyMap {
  readonly name: string;
  /** Matches names that only this spelling has. */
  readonly marks: RegExp;
  /** Rules to canonical names. `{q,k,v}` means three tensors: equal parts of the rows. */
  readonly rules: readonly Rule[];
  /** Tensors of the CTC head, which is not part of the model. */
  readonly ctc?: RegExp;
}

/** Encoder layers as in ModelConfig, without the stem. */
export interface EncoderLayers {
  readonly layers: number;
  readonly tpLayers: number;
}

const TOWER = "model.audio_tower.";
const BLOCK = /^(model\.(?:audio_tower|multi_modal_projector)\.layers\.\d+\.)/.source;

/**
 * Released spellings → canonical names, those of transformers 5.17 to 5.23.
 * @source "split": revisions of the hub's Fun-ASR-Nano-2512-hf before transformers 5.17. The first
 *   revision names the memory `fsmn` and has one module for the adaptor. The second names it
 *   `feedforward_sequential_memory`, with the linears in `multi_modal_projector` and the blocks in
 *   `audio_adaptor`.
 */
export const KEY_MAPS: readonly KeyMap[] = [
  {
    name: "flat",
    marks:
      /^model\.(audio_tower|multi_modal_projector)\.layers\.\d+\.(input_layernorm|post_attention_layernorm|final_layernorm|mlp)\./,
    rules: [],
  },
  {
    name: "split",
    marks:
      /^model\.(audio_tower\.(stem|timestamp_prediction_|layer_norm)|audio_adaptor\.|multi_modal_projector\.blocks\.)/,
    rules: [
      // encoder layers become one list: stem, transcription, timestamp prediction; each norm joins
      // the layer before it
      { from: /^model\.audio_tower\.layers\.(\d+)\./, to: (_, i) => `${TOWER}layers.${Number(i) + 1}.` },
      { from: /^model\.audio_tower\.stem\./, to: `${TOWER}layers.0.` },
      {
        from: /^model\.audio_tower\.timestamp_prediction_layers\.(\d+)\./,
        to: (n, i) => `${TOWER}layers.${n.transcription + Number(i)}.`,
      },
      {
        from: /^model\.audio_tower\.layer_norm\./,
        to: (n) => `${TOWER}layers.${n.transcription - 1}.final_layernorm.`,
      },
      {
        from: /^model\.audio_tower\.timestamp_prediction_layer_norm\./,
        to: (n) => `${TOWER}layers.${n.total - 1}.final_layernorm.`,
      },
      // the adaptor
      { from: /^model\.audio_adaptor\./, to: "model.multi_modal_projector." },
      { from: /^model\.multi_modal_projector\.blocks\./, to: "model.multi_modal_projector.layers." },
      // inside a layer
      { from: new RegExp(`${BLOCK}self_attn_layer_norm\\.`), to: "$1input_layernorm." },
      { from: new RegExp(`${BLOCK}final_layer_norm\\.`), to: "$1post_attention_layernorm." },
      { from: new RegExp(`${BLOCK}self_attn\\.out_proj\\.`), to: "$1self_attn.o_proj." },
      { from: new RegExp(`${BLOCK}(?:feedforward_sequential_memory|fsmn)\\.`), to: "$1self_attn.fsmn." },
      { from: new RegExp(`${BLOCK}(fc[12])\\.`), to: "$1mlp.$2." },
    ],
  },
];

/** Qwen3ForCausalLM or Qwen3Model of transformers. */
export const LLM_KEY_MAP: KeyMap = {
  name: "Qwen3",
  marks: /^(model\.)?(embed_tokens|layers|norm)\./,
  rules: [{ from: /^(?:model\.)?(embed_tokens|layers|norm)\./, to: "model.language_model.$1." }],
};

/**
 * Canonical names of a checkpoint's tensors. Names without a rule do not change; checkTensors
 * reports those left over.
 * @param names  all tensor names of the checkpoint, which decide the spelling
 * @param file   name of the checkpoint in errors
 * @param maps   the spellings of the layout
 * @returns      canonical name → name in the file
 * @throws CheckpointError  names of two spellings, or two names of one tensor
 */
export function canonicalNames(
  names: Iterable<string>,
  config: { readonly encoder?: EncoderLayers },
  file: string,
  maps: readonly KeyMap[] = KEY_MAPS,
): Map<string, string> {
  const stored = [...names];
  const map = findSpelling(stored, file, maps);
  const result = new Map<string, string>();
  for (const name of stored) {
    const canonical = canonicalName(name, map, config);
    const other = result.get(canonical);
    if (other !== undefined) throw namedTwice(file, canonical, other, name);
    result.set(canonical, name);
  }
  return result;
}

/** The error for two stored names of one canonical tensor. */
export function namedTwice(file: string, canonical: string, first: string, second: string): CheckpointError {
  const got = `${show(first)} and ${show(second)}`;
  return checkpointError(file, show(canonical), "one tensor of that meaning", got);
}

/** A stored name → the canonical one, with alternatives in braces for a fused tensor. */
export function canonicalName(
  name: string,
  { rules }: KeyMap,
  config: { readonly encoder?: EncoderLayers },
): string {
  const { layers, tpLayers } = config.encoder ?? { layers: 0, tpLayers: 0 };
  const counts = { transcription: 1 + layers, total: 1 + layers + tpLayers };
  return rules.reduce((n, rule) => rewrite(n, rule, counts), name);
}

/** "a.{q,k,v}.b" → its three names. */
export function alternatives(pattern: string): string[] {
  const match = /^(.*)\{([a-z,]+)\}(.*)$/.exec(pattern);
  return match ? match[2].split(",").map((part) => match[1] + part + match[3]) : [pattern];
}

function rewrite(name: string, { from, to }: Rule, counts: LayerCounts): string {
  if (typeof to === "string") return name.replace(from, to);
  return name.replace(from, (_match, ...groups) => to(counts, ...(groups as string[])));
}

function findSpelling(names: readonly string[], file: string, maps: readonly KeyMap[]): KeyMap {
  const found = maps.flatMap((map) => {
    const example = names.find((n) => map.marks.test(n));
    return example === undefined ? [] : [{ map, example }];
  });
  if (found.length > 1) {
    const got = found.map(({ map, example }) => `${show(example)} (${map.name})`).join(" beside ");
    throw checkpointError(file, "tensor names", "one spelling", got, "two checkpoints were mixed");
  }
  return found[0]?.map ?? maps[0];
}
