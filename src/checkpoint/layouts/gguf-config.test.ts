import { describe, expect, test } from "vitest";
import { counted, refusal } from "../../../test/helpers/checkpoint.js";
import { GGUF_PAIR as P, ggufPair as pair, rawGguf } from "../../../test/helpers/gguf.js";
import type { RawGguf, RawTensor, Value } from "../../../test/helpers/gguf.js";
import { openCheckpoint } from "../checkpoint.js";

const { encoder: ENCODER, llm: LLM } = P;

const ENCODER_KEYS: Readonly<Record<string, Value>> = {
  "general.architecture": "funasr-sensevoice-encoder",
  "funasr.enc.input_size": 8,
  "funasr.enc.output_size": 8,
  "funasr.enc.attention_heads": 2,
  "funasr.enc.linear_units": 12,
  "funasr.enc.num_blocks": 3,
  "funasr.enc.tp_blocks": 2,
  "funasr.enc.kernel_size": 3,
  "funasr.enc.sanm_shfit": 0,
  "funasr.adp.llm_dim": 16,
  "funasr.adp.encoder_dim": 8,
  "funasr.adp.ffn_dim": 20,
  "funasr.adp.n_layer": 0,
  "funasr.adp.attention_heads": 4,
  "funasr.adp.downsample_rate": 1,
  "funasr.frontend.n_mels": 4,
  "funasr.frontend.lfr_m": 2,
  "funasr.frontend.lfr_n": 1,
};
const LLM_KEYS: Readonly<Record<string, Value>> = {
  "general.architecture": "qwen3",
  "qwen3.block_count": 1,
  "qwen3.context_length": 64,
  "qwen3.embedding_length": 16,
  "qwen3.feed_forward_length": 28,
  "qwen3.attention.head_count": 4,
  "qwen3.attention.head_count_kv": 2,
  "qwen3.attention.key_length": 8,
  "qwen3.attention.value_length": 8,
  "qwen3.rope.freq_base": (b) => b.u32(6).f32(1e6),
  "qwen3.attention.layer_norm_rms_epsilon": (b) => b.u32(6).f32(1e-6),
  "tokenizer.ggml.tokens": ["a", "<|object_ref_start|>"],
};
const EMBEDDING: RawTensor = { name: "token_embd.weight", dims: [16, 2], type: 0, offset: 0 };

type Changes = Readonly<Record<string, Value | undefined>>;

function file(keys: Changes, rest: RawGguf = {}): Uint8Array {
  const values = Object.entries(keys).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as const],
  );
  return rawGguf({ values, ...rest });
}

// Plan: metadata that is missing, contradicts itself or is not implemented. Each error is tested in
// full.
describe("bad metadata", () => {
  const E = `m/${ENCODER}: `;
  const L = `m/${LLM}: `;
  const only = "nothing else is implemented";
  /** Name of the test, changes of the encoder's keys, changes of the LLM's keys, error. */
  const cases: readonly (readonly [string, Changes, Changes, string])[] = [
    [
      "no kernel size",
      { "funasr.enc.kernel_size": undefined },
      {},
      `${E}metadata "funasr.enc.kernel_size": expected a positive integer, got nothing`,
    ],
    [
      "a shifted memory",
      { "funasr.enc.sanm_shfit": 1 },
      {},
      `${E}metadata "funasr.enc.sanm_shfit": expected 0, got 1; ${only}`,
    ],
    [
      "a downsampling adaptor",
      { "funasr.adp.downsample_rate": 2 },
      {},
      `${E}metadata "funasr.adp.downsample_rate": expected 1, got 2; ${only}`,
    ],
    [
      "an input of another size",
      { "funasr.enc.input_size": 560 },
      {},
      `${E}metadata "funasr.enc.input_size": expected 8, as funasr.frontend.n_mels times funasr.frontend.lfr_m, got 560`,
    ],
    [
      "another LLM's adaptor",
      { "funasr.adp.llm_dim": 32 },
      {},
      `${E}metadata "funasr.adp.llm_dim": expected 16, the width of m/${LLM}, got 32; the two files are of different models`,
    ],
    [
      "an adaptor of another encoder",
      { "funasr.adp.encoder_dim": 16 },
      {},
      `${E}metadata "funasr.adp.encoder_dim": expected 8, as funasr.enc.output_size, got 16`,
    ],
    [
      "blocks without tensors",
      { "funasr.adp.n_layer": 2 },
      {},
      `${E}tensor "audio_adaptor.blocks.0.feed_forward.w_1.weight": expected a matrix of that name, got none`,
    ],
    [
      "heads that do not divide",
      { "funasr.enc.attention_heads": 3 },
      {},
      `m/${ENCODER} and m/${LLM}: audio_config.num_attention_heads: expected a divisor of hidden_size 8, got 3`,
    ],
    [
      "a billion layers",
      { "funasr.enc.tp_blocks": 1_000_000_000 },
      {},
      `m/${ENCODER} and m/${LLM}: audio_config.num_timestamp_prediction_layers: expected at most 1000, got 1000000000`,
    ],
    [
      "another architecture",
      {},
      { "general.architecture": "llama" },
      `${L}metadata "general.architecture": expected "qwen3", got "llama"; is this the right file?`,
    ],
    [
      "heads for each layer",
      {},
      { "qwen3.attention.head_count": [4, 4] },
      `${L}metadata "qwen3.attention.head_count": expected a positive integer, got an array of 2 i32`,
    ],
    [
      "values of another width",
      {},
      { "qwen3.attention.value_length": 16 },
      `${L}metadata "qwen3.attention.value_length": expected 8, got 16; ${only}`,
    ],
    [
      "partly rotated heads",
      {},
      { "qwen3.rope.dimension_count": 4 },
      `${L}metadata "qwen3.rope.dimension_count": expected 8, got 4; ${only}`,
    ],
    [
      "a sliding window",
      {},
      { "qwen3.attention.sliding_window": 128 },
      `${L}metadata "qwen3.attention.sliding_window": expected 0, got 128; ${only}`,
    ],
    [
      "a vocabulary of another size",
      {},
      { "qwen3.vocab_size": 3 },
      `${L}metadata "qwen3.vocab_size": expected 2, got 3; ${only}`,
    ],
    [
      "one of several files",
      {},
      { "split.count": 3 },
      `${L}metadata "split.count": expected 1: the model in one file, got 3; merge it with llama-gguf-split`,
    ],
    [
      "a rope that is not implemented",
      {},
      {
        "qwen3.rope.scaling.type": "linear",
        "qwen3.rope.scaling.factor": 4,
        "qwen3.rope.scaling.original_context_length": 32,
      },
      `m/${ENCODER} and m/${LLM}: text_config.rope_parameters.rope_type: expected `,
    ],
    [
      "a vocabulary without the audio token",
      {},
      { "tokenizer.ggml.tokens": ["a", "b"] },
      `${L}metadata "tokenizer.ggml.tokens": expected a vocabulary with <|object_ref_start|>, got an array of 2 string; is this the tokenizer of a Qwen3?`,
    ],
  ];
  const open = (
    encoder: Changes,
    llm: Changes,
    rest: RawGguf = { tensors: [EMBEDDING], data: 192 },
  ): Promise<unknown> =>
    openCheckpoint(
      pair({ [ENCODER]: file({ ...ENCODER_KEYS, ...encoder }), [LLM]: file({ ...LLM_KEYS, ...llm }, rest) }),
    );

  test.each(cases)("%s", async (_, encoder, llm, message) => {
    expect((await refusal(() => open(encoder, llm))).message.slice(0, message.length)).toBe(message);
  });

  test("no embedding", async () => {
    const error = await refusal(() => open({}, {}, {}));
    expect(error.message).toBe(`${L}tensor "token_embd.weight": expected a matrix of that name, got none`);
  });

  test("valid metadata: then the tensors are compared", async () => {
    const error = await refusal(() => open({}, {}));
    expect(error.message).toMatch(
      /^m: tensor "model\.audio_tower\.layers\.0\..*": expected a tensor of that name, got none \(/,
    );
  });

  test("a name in both files", async () => {
    const twice = { tensors: [EMBEDDING], data: 192 };
    const files = pair({ [ENCODER]: file(ENCODER_KEYS, twice), [LLM]: file(LLM_KEYS, twice) });
    const error = await refusal(() => openCheckpoint(files));
    expect(error.message).toBe(
      `${L}tensor "token_embd.weight": expected a name that the other file does not have, got it in both`,
    );
  });

  test("files are closed when a pair is refused", async () => {
    const { files, open } = counted(pair({ [LLM]: file({ ...LLM_KEYS, "general.architecture": "llama" }) }));
    await refusal(() => openCheckpoint(files));
    expect(open()).toBe(0);
  });
});
