import type { EncoderConfig } from "../../config/model-config.js";

/** A tensor of model.pt: its name there, and the canonical tensors whose rows it holds in order. */
export interface FunasrTensor {
  readonly name: string;
  readonly parts: readonly string[];
}

const INSIDE: readonly (readonly [from: RegExp, to: string])[] = [
  [/^input_layernorm\./, "norm1."],
  [/^post_attention_layernorm\./, "norm2."],
  [/^self_attn\.([qkv])_proj\./, "self_attn.linear_$1."],
  [/^self_attn\.o_proj\./, "self_attn.linear_out."],
  [/^self_attn\.fsmn\.conv\./, "self_attn.fsmn_block."],
  [/^mlp\.fc([12])\./, "feed_forward.w_$1."],
];

/**
 * The tensors of model.pt for a checkpoint's: the inverse of FUNASR_KEY_MAP. The encoder's q, k and
 * v are fused there.
 * @param names  canonical
 */
export function funasrTensors(names: Iterable<string>, encoder: EncoderConfig): FunasrTensor[] {
  const result: FunasrTensor[] = [];
  for (const canonical of names) {
    const name = funasrName(canonical, encoder);
    if (/^audio_encoder\..*\.linear_[kv]\./.test(name)) continue; // with q
    if (!/^audio_encoder\..*\.linear_q\./.test(name)) result.push({ name, parts: [canonical] });
    else
      result.push({
        name: name.replace(".linear_q.", ".linear_q_k_v."),
        parts: ["q", "k", "v"].map((part) => canonical.replace(".q_proj.", `.${part}_proj.`)),
      });
  }
  return result;
}

function funasrName(canonical: string, encoder: EncoderConfig): string {
  const [, part, index, rest] =
    /^model\.(audio_tower|multi_modal_projector)\.layers\.(\d+)\.(.+)$/.exec(canonical) ?? [];
  if (part === undefined)
    return canonical
      .replace(/^model\.multi_modal_projector\.linear_/, "audio_adaptor.linear")
      .replace(/^model\.language_model\./, "llm.model.")
      .replace(/^lm_head\./, "llm.lm_head.");
  const inside = INSIDE.reduce((name, [from, to]) => name.replace(from, to), rest);
  if (part === "multi_modal_projector") return `audio_adaptor.blocks.${index}.${inside}`;
  const layer = Number(index);
  const { layers } = encoder;
  const norm = /^final_layernorm\.(.+)$/.exec(rest)?.[1];
  if (norm !== undefined) return `audio_encoder.${layer === layers ? "after_norm" : "tp_norm"}.${norm}`;
  if (layer === 0) return `audio_encoder.encoders0.0.${inside}`;
  if (layer <= layers) return `audio_encoder.encoders.${layer - 1}.${inside}`;
  return `audio_encoder.tp_encoders.${layer - 1 - layers}.${inside}`;
}
