import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { refusal } from "../../test/helpers/checkpoint.js";
import { openSafetensors, readFloat32, readTensor } from "../checkpoint/safetensors/safetensors.js";
import { ropeAngles } from "../kernels/rope/rope.js";
import { openFile } from "../node/files.js";
import { parseLlmConfig } from "./model-config.js";
import type { LlmConfig } from "./model-config.js";

const folder = fileURLToPath(new URL("../../test/fixtures/rope/", import.meta.url));
const files = readdirSync(folder).sort();

const json = (fields: Record<string, unknown>): Record<string, unknown> => ({
  model_type: "qwen3",
  vocab_size: 64,
  hidden_size: 64,
  intermediate_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 128,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  max_position_embeddings: 131_072,
  ...fields,
});
const parse = (fields: Record<string, unknown>): LlmConfig => parseLlmConfig(json(fields));

async function golden(name: string): Promise<{
  config: LlmConfig;
  positions: number[];
  f32: Float32Array;
  f64: Float64Array;
}> {
  const source = await openFile(folder + name);
  try {
    const file = await openSafetensors(source);
    const doubles = async (key: string): Promise<Float64Array> =>
      new Float64Array((await readTensor(file, key)).slice().buffer);
    const pairs = <A extends Float32Array | Float64Array>(both: A, cos: A, sin: A): A =>
      both.map((_, i) => (i % 2 === 0 ? cos : sin)[i >> 1]) as A;
    const positions = new BigInt64Array((await readTensor(file, "positions")).slice().buffer);
    const [cos, sin] = [await readFloat32(file, "cos"), await readFloat32(file, "sin")];
    const [cos64, sin64] = [await doubles("f64.cos"), await doubles("f64.sin")];
    return {
      config: parse({
        head_dim: Number(file.metadata.get("head_dim")),
        rope_parameters: JSON.parse(file.metadata.get("rope_parameters")!),
      }),
      positions: [...positions].map(Number),
      f32: pairs(new Float32Array(2 * cos.length), cos, sin),
      f64: pairs(new Float64Array(2 * cos64.length), cos64, sin64),
    };
  } finally {
    await source.close();
  }
}

/** Largest difference beyond `relative` of the wanted value; NaN where either holds one. */
const worst = (got: ArrayLike<number>, want: ArrayLike<number>, relative = 0): number => {
  expect(got.length).toBe(want.length);
  return Array.from(got, (value, i) => Math.abs(value - want[i]) - relative * Math.abs(want[i])).reduce(
    (a, b) => Math.max(a, b),
  );
};

// Plan: tables up to position 131,071 against Qwen3RotaryEmbedding of transformers, run in double.
// Every entry is the rounded number: the tolerance is half an ulp and the f64 error of an angle of
// 131,071. Upstream's f32 is off by thousandths.
describe("ropeAngles against transformers", () => {
  test("covers default and yarn", () => {
    expect(files).toContain("default.safetensors");
    expect(files.filter((name) => name.startsWith("yarn")).length).toBeGreaterThanOrEqual(8);
  });

  test.each(files)("%s", async (name) => {
    const { config, positions, f32, f64 } = await golden(name);
    const { headDim, ropeTheta, ropeScaling } = config;
    const angles = ropeAngles(positions, headDim, ropeTheta, ropeScaling);
    expect(worst(angles, f64, 2 ** -24)).toBeLessThanOrEqual(1e-10);
    expect(worst(angles, f32)).toBeLessThanOrEqual(1e-2); // the same function, in f32
    expect(name.startsWith("yarn")).toBe(ropeScaling !== undefined);
    if (ropeScaling) expect(worst(ropeAngles(positions, headDim, ropeTheta), f64)).toBeGreaterThan(0.1);
  });
});

const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32_768 };
const scaling = {
  factor: 4,
  originalMaxPositions: 32_768,
  attentionFactor: 0.1 * Math.log(4) + 1,
  betaFast: 32,
  betaSlow: 1,
  truncate: true,
};

describe("yarn in config.json", () => {
  test.each([
    ["rope_parameters of transformers 5", { rope_parameters: { ...yarn, rope_theta: 1e6 } }],
    ["rope_scaling of transformers 4", { rope_theta: 1e6, rope_scaling: yarn }],
    ["its older type", { rope_theta: 1e6, rope_scaling: { ...yarn, rope_type: undefined, type: "yarn" } }],
    ["rope_scaling wins", { rope_parameters: { rope_type: "default", rope_theta: 1e6 }, rope_scaling: yarn }],
    ["an empty rope_scaling does not", { rope_parameters: { ...yarn, rope_theta: 1e6 }, rope_scaling: {} }],
    [
      "zeros and nulls are defaults",
      {
        rope_theta: 1e6,
        rope_scaling: { ...yarn, beta_fast: 0, beta_slow: null, mscale: 1, attention_factor: null },
      },
    ],
    [
      "the top's original length comes first",
      {
        rope_theta: 1e6,
        original_max_position_embeddings: 32_768,
        rope_scaling: { ...yarn, original_max_position_embeddings: 7 },
      },
    ],
  ])("%s", (_, fields) => {
    expect(parse(fields)).toMatchObject({ ropeTheta: 1e6, ropeScaling: scaling, maxPositions: 131_072 });
  });

  test("as Qwen3 advises: yarn beside the 40,960 positions of the released config", () => {
    const fields = { rope_theta: 1e6, rope_scaling: yarn, max_position_embeddings: 40_960 };
    expect(parse(fields).maxPositions).toBe(131_072);
  });

  test("max_position_embeddings is the default of the original length", () => {
    const rope_scaling = { rope_type: "yarn", factor: 2 };
    const config = parse({ rope_theta: 1e6, rope_scaling, max_position_embeddings: 1000 });
    expect(config).toMatchObject({ ropeScaling: { originalMaxPositions: 1000 }, maxPositions: 2000 });
  });

  test("a null truncate is false, as upstream", () => {
    const config = parse({ rope_theta: 1e6, rope_scaling: { ...yarn, truncate: null } });
    expect(config.ropeScaling?.truncate).toBe(false);
  });

  test("the type default means no scaling", () => {
    const config = parse({ rope_parameters: { rope_type: "default", rope_theta: 1e6 } });
    expect(Object.hasOwn(config, "ropeScaling")).toBe(false);
    expect(config.maxPositions).toBe(131_072);
  });
});

describe("refusals", () => {
  const only = "nothing else is implemented";
  test.each(["linear", "dynamic", "llama3", "longrope", "proportional"])("%s", async (type) => {
    for (const key of ["rope_type", "type"]) {
      const error = await refusal(() => parse({ rope_theta: 1e6, rope_scaling: { [key]: type, factor: 4 } }));
      expect(error.message).toBe(
        `config.json: rope_scaling.${key}: expected "default" or "yarn", got "${type}"; ${only}`,
      );
    }
  });

  test.each([
    ["factor", undefined, "expected a positive number, got nothing"],
    ["factor", 0, "expected a positive number, got 0"],
    ["factor", 1e300, "expected one of a countable context, got 1e+300"],
    ["factor", "4", 'expected a positive number, got "4"'],
    ["original_max_position_embeddings", 0.5, "expected a positive integer, got 0.5"],
    ["attention_factor", 0, "expected a positive number, got 0"],
    ["beta_fast", -1, "expected a positive number, got -1"],
    ["beta_slow", true, "expected a positive number, got true"],
    ["truncate", 1, "expected true or false, got 1"],
    ["rope_theta", 1, "expected a number above 1, for yarn, got 1"],
    ["partial_rotary_factor", 0.5, `expected 1, got 0.5; ${only}`],
  ])("%s = %j", async (field, value, line) => {
    const rope_parameters = { rope_theta: 1e6, ...yarn, [field]: value };
    const error = await refusal(() => parse({ rope_parameters }));
    expect(error.message).toBe(`config.json: rope_parameters.${field}: ${line}`);
  });
});
