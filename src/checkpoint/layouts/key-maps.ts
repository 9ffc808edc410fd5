import { show } from "../../json.js";
import { CheckpointError } from "../../formats/errors.js";

/** What a rewritten index needs to know: layers before the timestamp-prediction ones (stem included), and all of them. */
interface LayerCounts {
  readonly transcription: number;
  readonly total: number;
}

/** One rewriting step. Each rule of a layout is tried in turn on the result of those before it. */
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
  /** To canonical names. `{q,k,v}` in one stands for as many tensors, which the stored one holds as equal parts of its rows. */
  readonly rules: readonly Rule[];
  /** Tensors of the CTC head, which stay out of the model. */
  readonly ctc?: RegExp;
}

/** The counts that a rewritten index needs, as ModelConfig has them: the stem is in neither. */
export interface EncoderLayers {
  readonly layers: number;
  readonly tpLayers: number;
}

const TOWER = "model.audio_tower.";
const BLOCK = /^(model\.(?:audio_tower|multi_modal_projector)\.layers\.\d+\.)/.source;

/**
 * Released spellings → canonical names (those of transformers 5.17 to 5.23, whose names never differed).
 * @source "split": revisions of the hub's Fun-ASR-Nano-2512-hf before transformers 5.17, written by its conversion script of the time.
 *   In the first of them the memory is `fsmn` and the whole adaptor is one module; later it is `feedforward_sequential_memory`, with
 *   the linears in `multi_modal_projector` and the blocks in `audio_adaptor`.
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
      // one list of encoder layers: stem, transcription, timestamp prediction; the two norms join the layers that they follow
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

/** Qwen3 alone, as transformers writes Qwen3ForCausalLM, or its bare Qwen3Model. */
export const LLM_KEY_MAP: KeyMap = {
  name: "Qwen3",
  marks: /^(model\.)?(embed_tokens|layers|norm)\./,
  rules: [{ from: /^(?:model\.)?(embed_tokens|layers|norm)\./, to: "model.language_model.$1." }],
};

/**
 * Canonical name of each tensor name of one checkpoint. Names that no rule knows stay as they are: checkTensors tells which are left over.
 * @param names  every tensor name of the checkpoint: the spelling is told from all of them together
 * @param maps   the spellings that the layout has been published in
 * @param file   what errors call the checkpoint
 * @returns      canonical name → name in the file
 * @throws CheckpointError  the names are of two spellings, or two of them mean the same tensor
 */
export function canonicalNames(
  names: Iterable<string>,
  config: { readonly encoder?: EncoderLayers },
  file: string,
  maps: readonly KeyMap[] = KEY_MAPS,
): Map<string, string> {
  const all = [...names];
  const map = spelling(all, file, maps);
  const result = new Map<string, string>();
  for (const name of all) {
    const canonical = canonicalName(name, map, config);
    const other = result.get(canonical);
    if (other !== undefined) {
      const got = `${show(other)} and ${show(name)}`;
      throw new CheckpointError({
        file,
        field: show(canonical),
        expected: "one tensor of that meaning",
        got,
      });
    }
    result.set(canonical, name);
  }
  return result;
}

/** One name of a spelling → the canonical one, with alternatives in braces where it stands for several. */
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

function spelling(names: readonly string[], file: string, maps: readonly KeyMap[]): KeyMap {
  const seen = maps.flatMap((map) => {
    const example = names.find((n) => map.marks.test(n));
    return example === undefined ? [] : [{ map, example }];
  });
  if (seen.length > 1) {
    const got = seen.map(({ map, example }) => `${show(example)} (${map.name})`).join(" beside ");
    throw new CheckpointError({
      file,
      field: "tensor names",
      expected: "one spelling",
      got,
      advice: "two checkpoints were mixed",
    });
  }
  return seen[0]?.map ?? maps[0];
}
