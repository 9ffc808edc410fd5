import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fixtureFiles, realConfig, refusal } from "../../test/helpers/checkpoint.js";
import { ConfigError } from "../formats/errors.js";
import { audioTokens, parseLlmConfig, parseModelConfig } from "./model-config.js";

// Plan: config.json gives the same numbers in each released spelling. A field that is missing,
// wrong or not implemented is refused by its path.

type Json = Record<string, unknown>;
const tiny = (): Json =>
  JSON.parse(new TextDecoder().decode(fixtureFiles("tiny").get("config.json"))) as Json;

const text = (over: Json = {}): Json => ({
  model_type: "qwen3",
  vocab_size: 151936,
  hidden_size: 1024,
  intermediate_size: 3072,
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 128,
  hidden_act: "silu",
  max_position_embeddings: 40960,
  rms_norm_eps: 1e-6,
  attention_bias: false,
  use_sliding_window: false,
  sliding_window: null,
  tie_word_embeddings: true,
  rope_parameters: { rope_theta: 1000000, rope_type: "default" },
  ...over,
});
const current = (): Json => ({
  model_type: "fun_asr_nano",
  audio_config: {
    num_mel_bins: 80,
    num_stacked_frames: 7,
    hidden_size: 512,
    num_attention_heads: 4,
    intermediate_size: 2048,
    num_hidden_layers: 70,
    num_timestamp_prediction_layers: 20,
    fsmn_kernel_size: 11,
    layer_norm_eps: 1e-5,
    hidden_act: "relu",
  },
  adaptor_config: {
    hidden_size: 1024,
    num_attention_heads: 8,
    intermediate_size: 256,
    num_hidden_layers: 2,
    layer_norm_eps: 1e-5,
    hidden_act: "relu",
    projector_hidden_act: "relu",
    projector_hidden_size: 2048,
  },
  text_config: text(),
  audio_token_id: 151646,
  tie_word_embeddings: true,
});
const oldEncoder = {
  model_type: "fun_asr_nano_encoder",
  num_mel_bins: 80,
  num_stacked_frames: 7,
  d_model: 512,
  encoder_attention_heads: 4,
  encoder_ffn_dim: 2048,
  encoder_layers: 50,
  num_timestamp_prediction_blocks: 20,
  kernel_size: 11,
  activation_function: "relu",
};
/** The hub's second revision: encoder_config, and adaptor_config with the old keys. */
const later = (): Json => ({
  model_type: "fun_asr_nano",
  encoder_config: oldEncoder,
  adaptor_config: {
    d_model: 1024,
    encoder_attention_heads: 8,
    encoder_ffn_dim: 256,
    encoder_layers: 2,
    activation_function: "relu",
  },
  projector_hidden_size: 2048,
  text_config: text(),
  audio_token_id: 151646,
  tie_word_embeddings: true,
});
/** The hub's first revision: the adaptor's numbers at the top. */
const first = (): Json => ({
  model_type: "fun_asr_nano",
  encoder_config: oldEncoder,
  adaptor_intermediate_size: 2048,
  adaptor_num_attention_heads: 8,
  adaptor_num_hidden_layers: 2,
  activation_function: "relu",
  text_config: text(),
  audio_token_index: 151646,
  tie_word_embeddings: true,
});

/** Sets one field by its path; undefined removes it. */
function change(json: Json, path: string, value: unknown): Json {
  const keys = path.split(".");
  const last = keys.pop()!;
  const holder = keys.reduce<Json>((section, key) => (section[key] = { ...(section[key] as Json) }), json);
  if (value === undefined) Reflect.deleteProperty(holder, last);
  else holder[last] = value;
  return json;
}

describe("released spellings", () => {
  test.each([
    ["transformers 5.17 to 5.23", current()],
    ["the hub's second revision", later()],
    ["the hub's first revision", first()],
  ])("%s", (_, json) => {
    expect(parseModelConfig(json)).toEqual({ ...realConfig("0.6B"), raw: json });
  });

  test("save_pretrained of transformers 5.23", () => {
    const { encoder, adaptor, llm, audioTokenId, audioTokenRule } = parseModelConfig(tiny());
    expect(encoder).toEqual({
      inputSize: 8,
      hiddenSize: 8,
      heads: 2,
      intermediateSize: 12,
      layers: 2,
      tpLayers: 2,
      fsmnKernelSize: 3,
      layerNormEps: 1e-5,
    });
    expect(adaptor).toEqual({
      projectorHiddenSize: 20,
      hiddenSize: 16,
      heads: 4,
      intermediateSize: 4,
      layers: 2,
      layerNormEps: 1e-5,
    });
    expect(llm).toMatchObject({ kvHeads: 2, headDim: 8, ropeTheta: 1e6, tiedHead: true, maxPositions: 128 });
    expect([audioTokenId, audioTokenRule]).toEqual([7, "all"]);
  });

  test("rope_theta beside rope_scaling, as transformers 4 wrote it", () => {
    for (const rope_scaling of [undefined, null, { rope_type: "default" }, { type: "default" }]) {
      const json = text({ rope_parameters: undefined, rope_theta: 5e5, rope_scaling });
      expect(parseLlmConfig(json).ropeTheta).toBe(5e5);
    }
  });

  test("a head_dim of encoder or adaptor that agrees with their width", () => {
    const json = change(change(current(), "audio_config.head_dim", 128), "adaptor_config.head_dim", null);
    expect(parseModelConfig(json).encoder).toEqual(realConfig("0.6B").encoder);
  });

  test("num_key_value_heads null means one per head", () => {
    expect(parseLlmConfig(text({ num_key_value_heads: null })).kvHeads).toBe(16);
  });

  test("the outer tie_word_embeddings decides, or else the inner one", () => {
    const tied = (outer: unknown, inner: unknown): boolean => {
      const json = change(current(), "tie_word_embeddings", outer);
      return parseModelConfig(change(json, "text_config.tie_word_embeddings", inner)).llm.tiedHead;
    };
    expect([tied(true, false), tied(false, true), tied(undefined, false), tied(undefined, true)]).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  test("the audio-token rule is all by default", () => {
    const rule = (path: string, value: unknown): string =>
      parseModelConfig(change(current(), path, value)).audioTokenRule;
    expect(rule("audio_token_rule", "low_frame_rate")).toBe("low_frame_rate");
    expect(rule("audio_token_rule", "all")).toBe("all");
    expect(rule("use_low_frame_rate", true)).toBe("low_frame_rate");
    expect(rule("use_low_frame_rate", false)).toBe("all");
    expect(rule("adaptor_config.use_low_frame_rate", true)).toBe("low_frame_rate");
  });
});

describe("bad input", () => {
  const only = "; nothing else is implemented";
  test.each<[string, unknown, string]>([
    ["text_config.num_attention_heads", "16", 'expected a positive integer, got "16"'],
    ["text_config.num_attention_heads", undefined, "expected a positive integer, got nothing"],
    ["text_config.num_attention_heads", 0, "expected a positive integer, got 0"],
    ["text_config.num_attention_heads", -16, "expected a positive integer, got -16"],
    ["text_config.num_attention_heads", 1.5, "expected a positive integer, got 1.5"],
    ["text_config.num_attention_heads", 1e300, "expected a positive integer, got 1e+300"],
    ["text_config.num_key_value_heads", 3, "expected a divisor of num_attention_heads 16, got 3"],
    ["text_config.head_dim", 7, "expected a multiple of 4 up to 512, got 7"],
    ["text_config.head_dim", 126, "expected a multiple of 4 up to 512, got 126"],
    ["text_config.head_dim", 516, "expected a multiple of 4 up to 512, got 516"],
    [
      "text_config.layer_types",
      new Array(27).fill("full_attention"),
      "expected a list of 28, one a layer, got 27",
    ],
    ["text_config.layer_types", [], "expected a list of 28, one a layer, got 0"],
    ["text_config.num_hidden_layers", 2e6, "expected at most 1000, got 2000000"],
    ["text_config.hidden_size", 2 ** 25, "expected at most 16777216, got 33554432"],
    ["text_config.vocab_size", 1e12, "expected at most 16777216, got 1000000000000"],
    ["audio_config.num_hidden_layers", 1001, "expected at most 1000, got 1001"],
    ["audio_config.num_timestamp_prediction_layers", 1001, "expected at most 1000, got 1001"],
    ["audio_config.fsmn_kernel_size", 2000, "expected at most 1024, got 2000"],
    [
      "audio_config.num_attention_heads",
      256,
      "expected heads of a multiple of 4 up to 512 in hidden_size 512, got 256",
    ],
    ["audio_config.head_dim", 64, "expected 128, which is hidden_size / num_attention_heads, got 64"],
    ["adaptor_config.num_hidden_layers", 2e9, "expected at most 1000, got 2000000000"],
    [
      "adaptor_config.num_attention_heads",
      512,
      "expected heads of a multiple of 4 up to 512 in hidden_size 1024, got 512",
    ],
    ["adaptor_config.head_dim", 256, "expected 128, which is hidden_size / num_attention_heads, got 256"],
    ["text_config.head_dim", undefined, "expected a positive integer, got nothing"],
    ["text_config.hidden_size", 1022, "expected a multiple of 4, got 1022"],
    ["text_config.intermediate_size", 3, "expected a multiple of 4, got 3"],
    ["text_config.rms_norm_eps", 0, "expected a positive number, got 0"],
    ["text_config.rms_norm_eps", "1e-6", 'expected a positive number, got "1e-6"'],
    ["text_config.rms_norm_eps", 1e9, "expected a positive number below 1, got 1000000000"],
    ["audio_config.layer_norm_eps", 1, "expected a positive number below 1, got 1"],
    ["adaptor_config.layer_norm_eps", 1e9, "expected a positive number below 1, got 1000000000"],
    ["text_config.hidden_act", "gelu", `expected "silu", got "gelu"${only}`],
    ["text_config.attention_bias", true, `expected false, got true${only}`],
    ["text_config.use_sliding_window", true, `expected false, got true${only}`],
    [
      "text_config.layer_types",
      ["full_attention", "sliding_attention"],
      `expected a list of "full_attention", got "sliding_attention"${only}`,
    ],
    ["text_config.model_type", "llama", `expected "qwen3", got "llama"${only}`],
    ["text_config.rope_parameters.rope_type", "linear", `expected "default" or "yarn", got "linear"${only}`],
    ["text_config.rope_parameters.rope_theta", "1e6", 'expected a positive number, got "1e6"'],
    ["text_config.rope_parameters.rope_theta", undefined, "expected a positive number, got nothing"],
    ["text_config.rope_parameters.partial_rotary_factor", 0.5, `expected 1, got 0.5${only}`],
    ["text_config.rope_theta", 10, "expected 1000000 as rope_parameters says, got 10"],
    ["text_config", undefined, "expected an object, got nothing"],
    ["text_config", [1], "expected an object, got [1]"],
    ["audio_config", undefined, "expected an object, got nothing"],
    ["audio_config.hidden_act", "gelu", `expected "relu", got "gelu"${only}`],
    ["audio_config.num_attention_heads", 3, "expected a divisor of hidden_size 512, got 3"],
    ["audio_config.num_hidden_layers", 20, "expected more than num_timestamp_prediction_layers 20, got 20"],
    ["audio_config.num_timestamp_prediction_layers", -1, "expected a non-negative integer, got -1"],
    ["audio_config.num_mel_bins", 81, "expected a multiple of 4 once times num_stacked_frames, got 567"],
    ["audio_config.fsmn_kernel_size", 0, "expected a positive integer, got 0"],
    ["audio_config.intermediate_size", 6, "expected a multiple of 4, got 6"],
    ["audio_config.layer_norm_eps", undefined, "expected a positive number, got nothing"],
    ["adaptor_config", undefined, "expected an object, got nothing"],
    ["adaptor_config.hidden_act", "gelu", `expected "relu", got "gelu"${only}`],
    ["adaptor_config.projector_hidden_act", "gelu", `expected "relu", got "gelu"${only}`],
    ["adaptor_config.hidden_size", 2048, "expected text_config.hidden_size 1024, got 2048"],
    ["adaptor_config.num_attention_heads", 7, "expected a divisor of hidden_size 1024, got 7"],
    ["adaptor_config.projector_hidden_size", 2047, "expected a multiple of 4, got 2047"],
    ["audio_token_id", undefined, "expected a non-negative integer, got nothing"],
    ["audio_token_id", 151936, "expected an id below text_config.vocab_size 151936, got 151936"],
    ["audio_token_rule", "half", `expected "all" or "low_frame_rate", got "half"${only}`],
    ["use_low_frame_rate", 1, "expected true or false, got 1"],
    ["tie_word_embeddings", "yes", 'expected true or false, got "yes"'],
    ["model_type", "whisper", `expected "fun_asr_nano", got "whisper"${only}`],
  ])("%s = %j", async (path, value, line) => {
    const error = await refusal(() => parseModelConfig(change(current(), path, value)));
    expect(error.message).toBe(`config.json: ${path}: ${line}`);
    expect(error).toBeInstanceOf(ConfigError);
  });

  test("errors name the fields of the older spelling", async () => {
    const message = async (json: Json): Promise<string> =>
      (await refusal(() => parseModelConfig(json, "m/config.json"))).message;
    expect(await message(change(later(), "encoder_config.d_model", 510))).toBe(
      "m/config.json: encoder_config.d_model: expected a multiple of 4, got 510",
    );
    expect(await message(change(later(), "adaptor_config.d_model", 512))).toContain(
      "adaptor_config.d_model: expected text_config.hidden_size",
    );
    expect(await message(change(first(), "adaptor_num_attention_heads", 7))).toContain(
      "adaptor_num_attention_heads: expected a divisor of text_config.hidden_size 1024, got 7",
    );
    expect(await message(change(first(), "text_config.hidden_size", 1028))).toContain(
      "text_config.hidden_size: expected a multiple of 16, for the adaptor's FFN, got 1028",
    );
  });

  test("heads wider than the attention kernel's limit", async () => {
    const json = change(current(), "audio_config.hidden_size", 2064);
    expect((await refusal(() => parseModelConfig(json))).message).toBe(
      "config.json: audio_config.num_attention_heads: expected heads of a multiple of 4 up to 512 in hidden_size 2064, got 4",
    );
  });

  test("two rules that contradict each other, a quantised checkpoint, another top", async () => {
    const both = { ...current(), audio_token_rule: "all", use_low_frame_rate: true };
    expect((await refusal(() => parseModelConfig(both))).message).toBe(
      'config.json: audio_token_rule: expected "low_frame_rate" as use_low_frame_rate says, got "all"',
    );
    for (const key of ["quantization", "quantization_config"]) {
      expect((await refusal(() => parseModelConfig({ ...current(), [key]: { bits: 4 } }))).message).toBe(
        `config.json: ${key}: expected none: weights in f32, f16 or bf16, got a quantised checkpoint; use the unquantised one`,
      );
    }
    expect((await refusal(() => parseModelConfig([]))).message).toBe(
      "config.json: top: expected an object, got []",
    );
    expect((await refusal(() => parseModelConfig(null))).message).toBe(
      "config.json: top: expected an object, got null",
    );
  });

  test("2,000 configs with random fields are parsed, or refused in one line", async () => {
    const paths = Object.entries(current()).flatMap(([key, value]) =>
      typeof value === "object" && value !== null
        ? [key, ...Object.keys(value).map((k) => `${key}.${k}`)]
        : [key],
    );
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom<unknown>(undefined, 0, 4, 8, 1024, true, "relu"));
    const edits = fc.array(fc.tuple(fc.constantFrom(...paths), value), { maxLength: 3 });
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(edits, async (list) => {
        let json = current();
        for (const [path, v] of list) json = change(json, path, v);
        try {
          const { encoder, llm } = parseModelConfig(json);
          expect(encoder.hiddenSize % encoder.heads).toBe(0);
          expect(llm.hiddenSize % 4).toBe(0);
        } catch {
          refused++;
          await refusal(() => parseModelConfig(json));
        }
      }),
      { numRuns: 2000 },
    );
    expect(refused).toBeGreaterThan(500);
  });
});

describe("audioTokens", () => {
  test("all: every row", () => {
    expect([0, 1, 7, 500].map((t) => audioTokens("all", t))).toEqual([0, 1, 7, 500]);
  });

  // funasr 1.4.16 fun_asr_nano/model.py: olens = 1 + (n - 3 + 2) // 2, twice, then (olens - 1) // 2
  // + 1
  test.each([
    [0, 0],
    [1, 1],
    [2, 1],
    [8, 1],
    [9, 2],
    [16, 2],
    [17, 3],
    [33, 5],
    [134, 17],
    [500, 63],
    [501, 63],
    [505, 64],
  ])("low_frame_rate: %i frames give %i", (frames, rows) => {
    expect(audioTokens("low_frame_rate", frames)).toBe(rows);
  });
});
