import type { KeyMap } from "./key-maps.js";

const TOWER = "model.audio_tower.";
const ADAPTOR = "model.multi_modal_projector.";
const LLM = "model.language_model.";
const BLOCK = /^(model\.(?:audio_tower|multi_modal_projector)\.layers\.\d+\.)/.source;

/** Rules for the modules around the layers. Layouts made from FunASR's differ in prefixes. */
function modules(encoder: string, adaptor: string, llm: string, head: string): KeyMap["rules"] {
  const under = (prefix: string, rest: string): RegExp =>
    new RegExp(`^${prefix.replaceAll(".", "\\.")}\\.${rest}`);
  const layer = (index: number): string => `${TOWER}layers.${index}.`;
  return [
    { from: under(encoder, "encoders0\\.0\\."), to: layer(0) },
    { from: under(encoder, "encoders\\.(\\d+)\\."), to: (_, i) => layer(Number(i) + 1) },
    { from: under(encoder, "tp_encoders\\.(\\d+)\\."), to: (n, i) => layer(n.transcription + Number(i)) },
    { from: under(encoder, "after_norm\\."), to: (n) => `${layer(n.transcription - 1)}final_layernorm.` },
    { from: under(encoder, "tp_norm\\."), to: (n) => `${layer(n.total - 1)}final_layernorm.` },
    { from: under(adaptor, "linear([12])\\."), to: `${ADAPTOR}linear_$1.` },
    { from: under(adaptor, "blocks\\."), to: `${ADAPTOR}layers.` },
    { from: under(llm, "(embed_tokens|layers|norm)\\."), to: `${LLM}$1.` },
    { from: under(head, ""), to: "lm_head." },
    // inside a layer
    { from: new RegExp(`${BLOCK}norm1\\.`), to: "$1input_layernorm." },
    { from: new RegExp(`${BLOCK}norm2\\.`), to: "$1post_attention_layernorm." },
  ];
}

/**
 * FunASR's model.pt.
 * @source funasr 1.4 `SenseVoiceEncoderSmall`, `llm_asr.adaptor.Transformer`,
 *   `fun_asr_nano.model.FunASRNano`. Distributed training adds "module." to every name;
 *   `checkpoint_utils.normalize_checkpoint_state` removes it too.
 */
export const FUNASR_KEY_MAP: KeyMap = {
  name: "FunASR",
  marks: /(^|\.)audio_(encoder|adaptor)\./,
  ctc: /^(module\.)?ctc(_decoder)?\./,
  rules: [
    { from: /^module\./, to: "" },
    { from: /^llm\.base_model\.model\./, to: "llm." }, // an LLM wrapped by peft
    { from: /^(llm\..*)\.base_layer\./, to: "$1." },
    ...modules("audio_encoder", "audio_adaptor", "llm.model", "llm.lm_head"),
    { from: new RegExp(`${BLOCK}self_attn\\.linear_q_k_v\\.`), to: "$1self_attn.{q,k,v}_proj." },
    { from: new RegExp(`${BLOCK}self_attn\\.linear_([qkv])\\.`), to: "$1self_attn.$2_proj." },
    { from: new RegExp(`${BLOCK}self_attn\\.linear_out\\.`), to: "$1self_attn.o_proj." },
    { from: new RegExp(`${BLOCK}self_attn\\.fsmn_block\\.`), to: "$1self_attn.fsmn.conv." },
    { from: new RegExp(`${BLOCK}feed_forward\\.w_([12])\\.`), to: "$1mlp.fc$2." },
  ],
};

/**
 * The safetensors of the MLX port.
 * @source OminiX-MLX `funasr-nano-mlx`, whose weights were made from model.pt
 */
export const MLX_KEY_MAP: KeyMap = {
  name: "MLX",
  marks: /^(encoder\.(encoders0?|tp_encoders|after_norm|tp_norm)|adaptor\.(linear[12]|blocks))\./,
  ctc: /^ctc(_decoder)?\./,
  rules: [
    ...modules("encoder", "adaptor", "llm", "llm.lm_head"),
    { from: new RegExp(`${BLOCK}attn\\.qkv\\.`), to: "$1self_attn.{q,k,v}_proj." },
    { from: new RegExp(`${BLOCK}attn\\.([qkv])\\.`), to: "$1self_attn.$2_proj." },
    { from: new RegExp(`${BLOCK}attn\\.out\\.`), to: "$1self_attn.o_proj." },
    { from: new RegExp(`${BLOCK}attn\\.fsmn\\.`), to: "$1self_attn.fsmn.conv." },
    { from: new RegExp(`${BLOCK}ffn\\.w([12])\\.`), to: "$1mlp.fc$2." },
    { from: /^(model\.language_model\.layers\.\d+\.)attn\./, to: "$1self_attn." },
  ],
};
