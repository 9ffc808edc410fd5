import { FUNASR_KEY_MAP } from "./key-maps-funasr.js";
import type { KeyMap } from "./key-maps.js";

const LLM = "model.language_model.";
const LAYER = /^(model\.language_model\.layers\.\d+\.)/.source;

/**
 * A pair of GGUF files: encoder and adaptor have the names of model.pt, the LLM has llama.cpp's.
 * @source FunASR `runtime/llama.cpp/fun-asr-nano/export_encoder_gguf.py`; gguf (Python)
 *   `constants.py`, TENSOR_NAMES; llama.cpp `conversion/qwen.py`, which keeps the rows of q and k
 *   in the order of transformers (rotate-half, no permutation)
 */
export const GGUF_KEY_MAP: KeyMap = {
  name: "GGUF",
  marks: /^(audio_(encoder|adaptor)|blk|token_embd)\./,
  ctc: /^ctc(_decoder)?\./,
  rules: [
    ...FUNASR_KEY_MAP.rules,
    { from: /^token_embd\./, to: `${LLM}embed_tokens.` },
    { from: /^output_norm\./, to: `${LLM}norm.` },
    { from: /^output\./, to: "lm_head." },
    { from: /^blk\./, to: `${LLM}layers.` },
    { from: new RegExp(`${LAYER}attn_norm\\.`), to: "$1input_layernorm." },
    { from: new RegExp(`${LAYER}attn_([qkv])\\.`), to: "$1self_attn.$2_proj." },
    { from: new RegExp(`${LAYER}attn_output\\.`), to: "$1self_attn.o_proj." },
    { from: new RegExp(`${LAYER}attn_([qk])_norm\\.`), to: "$1self_attn.$2_norm." },
    { from: new RegExp(`${LAYER}ffn_norm\\.`), to: "$1post_attention_layernorm." },
    { from: new RegExp(`${LAYER}ffn_(gate|up|down)\\.`), to: "$1mlp.$2_proj." },
  ],
};
