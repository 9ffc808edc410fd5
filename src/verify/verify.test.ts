import { describe, expect, it } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { type BundleParts, bundleParts, floatsOf, openParts } from "../../test/helpers/bundles.js";
import { CheckpointError } from "../formats/errors.js";
import { FunasrError } from "../errors.js";
import { countParameters } from "../config/expected-tensors.js";
import { bundleConfig, bundleParameters } from "./bundle.js";
import type { StageResult } from "./compare.js";
import type { RunOptions } from "./run.js";
import { verifyBundle } from "./verify.js";

const gpu = useGpu();

/** Verifies a committed bundle after `change`. */
async function verifyChanged(
  name: string,
  change: (parts: BundleParts) => void,
  options?: RunOptions,
): Promise<StageResult[]> {
  const parts = await bundleParts(name);
  change(parts);
  return verifyBundle(gpu(), await openParts(parts), options);
}

/** The one-line refusal of a changed bundle. */
async function refused(name: string, change: (parts: BundleParts) => void): Promise<string> {
  const error = await verifyChanged(name, change).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(FunasrError);
  const { message } = error as FunasrError;
  expect(message).not.toMatch(/[\r\n]/);
  return message;
}

function stage(results: readonly StageResult[], name: string): StageResult {
  return results.find((result) => result.stage === name)!;
}

const firstBad = (results: readonly StageResult[]): string | undefined =>
  results.find(({ ok }) => !ok)?.stage;

// Plan: an unchanged bundle passes; every way in which a bundle can disagree with the engine fails,
// at the stage where it is.
describe("verifyBundle", () => {
  it("passes an unchanged bundle, stages in the pipeline's order", async () => {
    const results = await verifyChanged("encoder-weights", () => undefined);
    expect(results.map((result) => result.stage)).toEqual([
      "encoder.stem",
      "encoder.layers.0",
      "encoder.norm",
      "encoder.tp_layers.0",
      "encoder.output",
    ]);
    expect(results.every(({ ok }) => ok)).toBe(true);
  });

  it("judges by f64 alone where the golden's f32 holds a NaN", async () => {
    const results = await verifyChanged("encoder-weights", (parts) => {
      floatsOf(parts, "encoder.norm")[5] = NaN;
    });
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect(stage(results, "encoder.norm").reason).toBe("judged by f64 alone: PyTorch's f32 holds NaN");
  });

  it("fails a golden with a flipped exponent bit in its f64, not in its f32", async () => {
    const results = await verifyChanged("encoder-weights", (parts) => {
      const f32 = floatsOf(parts, "encoder.norm");
      new Uint32Array(f32.buffer)[7] ^= 0x4000_0000;
      const f64 = parts.tensors.get("f64.encoder.output")!.data as Uint8Array;
      f64[8 * 3 + 7] ^= 0x40;
    });
    expect(results.filter(({ ok }) => !ok).map((result) => result.stage)).toEqual(["encoder.output"]);
    expect(stage(results, "encoder.norm").reason).toMatch(/^judged by f64 alone: PyTorch's f32 /);
    expect(stage(results, "encoder.output").problem).toMatch(/^the golden is damaged: PyTorch's f32 is /);
  });

  it("fails a NaN of our own", async () => {
    const results = await verifyChanged("encoder-weights", (parts) => {
      floatsOf(parts, "weights.model.audio_tower.layers.1.mlp.fc2.bias")[0] = NaN;
    });
    expect(firstBad(results)).toBe("encoder.layers.0");
    expect(stage(results, "encoder.layers.0").error).toBeNaN();
    expect(stage(results, "encoder.stem").ok).toBe(true);
  });

  it.each([
    ["another number of rows", (rows: number, width: number) => [rows * 2, width / 2]],
    ["another rank", (rows: number, width: number) => [rows * width]],
  ])("fails a wrong shape: %s", async (_, reshape) => {
    const results = await verifyChanged("encoder-weights", ({ tensors }) => {
      for (const name of ["encoder.norm", "f64.encoder.norm"]) {
        const tensor = tensors.get(name)!;
        const [rows, width] = tensor.shape;
        tensors.set(name, { ...tensor, shape: reshape(rows, width) });
      }
    });
    expect(firstBad(results)).toBe("encoder.norm");
    expect(stage(results, "encoder.norm").problem).toMatch(/^shape: want \[\d+(, \d+)?\], got \[11, 32\]$/);
  });

  it("fails a stage that the engine does not compute", async () => {
    const results = await verifyChanged("encoder-weights", ({ tensors }) => {
      for (const prefix of ["", "f64."]) {
        const name = `${prefix}encoder.attention_map`;
        tensors.set(name, { ...tensors.get(`${prefix}encoder.norm`)!, name });
      }
    });
    expect(stage(results, "encoder.attention_map")).toMatchObject({
      ok: false,
      problem: "the bundle holds this stage, the engine did not compute it",
    });
  });

  it("fails ids that the engine does not compute", async () => {
    const results = await verifyChanged("llm-one-token", ({ tensors }) => {
      tensors.set("generated_ids", { ...tensors.get("input.token_ids")!, name: "generated_ids" });
    });
    expect(firstBad(results)).toBe("generated_ids");
  });

  it.each([
    ["none", (parts: BundleParts) => parts.tensors.delete("f64.encoder.norm"), /got none$/],
    [
      "one in f32",
      ({ tensors }: BundleParts) =>
        tensors.set("f64.encoder.norm", { ...tensors.get("encoder.norm")!, name: "f64.encoder.norm" }),
      /got F32 \[11, 32\]$/,
    ],
    [
      "one of another shape",
      ({ tensors }: BundleParts) =>
        tensors.set("f64.encoder.norm", { ...tensors.get("f64.encoder.norm")!, shape: [32, 11] }),
      /got F64 \[32, 11\]$/,
    ],
  ])("fails a stage whose f64 twin is %s", async (_, change, problem) => {
    const results = await verifyChanged("encoder-weights", (parts) => void change(parts));
    expect(results.filter(({ ok }) => !ok).map((result) => result.stage)).toEqual(["encoder.norm"]);
    expect(stage(results, "encoder.norm").problem).toMatch(problem);
  });

  it("fails one wrong id", async () => {
    const results = await verifyChanged("model-low-packed", ({ tensors }) => {
      const { data } = tensors.get("generated_ids")!;
      new BigInt64Array((data as Uint8Array).buffer as ArrayBuffer)[40] ^= 1n;
    });
    expect(results.filter(({ ok }) => !ok)).toHaveLength(1);
    expect(stage(results, "generated_ids").problem).toMatch(/^id 40: want \d+, got \d+$/);
  });

  it.each([
    ["model.audio_tower.layers.0.mlp.fc2.bias", "encoder.stem"],
    ["model.audio_tower.layers.1.self_attn.v_proj.bias", "encoder.layers.0"],
    ["model.audio_tower.layers.1.final_layernorm.bias", "encoder.norm"],
    ["model.audio_tower.layers.2.mlp.fc1.bias", "encoder.tp_layers.0"],
    ["model.audio_tower.layers.2.final_layernorm.weight", "encoder.output"],
  ])("finds 1e-3 more in every value of %s at %s", async (parameter, first) => {
    const results = await verifyChanged("encoder-weights", (parts) => {
      const data = floatsOf(parts, `weights.${parameter}`);
      for (let i = 0; i < data.length; i++) data[i] += 1e-3;
    });
    expect(firstBad(results)).toBe(first);
    const place = results.findIndex((result) => result.stage === first);
    expect(results.slice(0, place).every(({ ok }) => ok)).toBe(true);
  });

  it("finds a wrong seed at the first stage", async () => {
    const results = await verifyChanged("model-low-packed", ({ metadata }) => {
      metadata.set("generator_seed", "1");
    });
    expect(firstBad(results)).toBe("encoder.stem");
  });

  it("finds the other audio-token rule", async () => {
    const message = await refused("model-low-packed", ({ metadata }) => {
      metadata.set("audio_token_rule", "all");
    });
    expect(message).toMatch(/audio slots must hold 30 tokens, got \d+/);
  });

  it("takes parameters from elsewhere", async () => {
    const other = await bundleParts("encoder-weights");
    floatsOf(other, "weights.model.audio_tower.layers.1.mlp.fc2.bias")[3] += 1e-3;
    const bundle = await openParts(other);
    const results = await verifyChanged("encoder-weights", () => undefined, {
      parameters: bundleParameters(bundle, bundleConfig(bundle)),
    });
    expect(firstBad(results)).toBe("encoder.layers.0");
  });

  it("reports the bytes of a model's weights on the GPU", async () => {
    const parts = await bundleParts("model-low-packed");
    const bundle = await openParts(parts);
    const { encoder, adaptor, llm, head } = countParameters(bundleConfig(bundle));
    const reported: number[] = [];
    const results = await verifyBundle(gpu(), bundle, { weights: "f32", onLoaded: (n) => reported.push(n) });
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect(reported).toEqual([4 * (encoder + adaptor + llm + head)]);
  });

  it("gives the GPU's memory back, also after a refusal", async () => {
    await refused("model-low-packed", ({ metadata }) => void metadata.set("audio_token_rule", "all"));
    await refused("encoder-weights", ({ tensors }) => {
      tensors.delete("weights.model.audio_tower.layers.2.final_layernorm.weight");
    });
    expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
  });
});

type Damage = (parts: BundleParts) => unknown;

const drop =
  (key: string): Damage =>
  ({ metadata }) =>
    metadata.delete(key);
const put =
  (key: string, value: string): Damage =>
  ({ metadata }) =>
    metadata.set(key, value);
const reshape =
  (name: string, shape: readonly number[]): Damage =>
  ({ tensors }) =>
    tensors.set(name, { ...tensors.get(name)!, shape });
const onlyInputs: Damage = ({ tensors }) => {
  for (const name of [...tensors.keys()]) {
    if (!name.startsWith("input.") && !name.startsWith("weights.")) tensors.delete(name);
  }
};

// Plan: metadata and inputs that no run can start from are refused in one line that names the file
// and the field.
describe("refusals", () => {
  const cases: [string, string, Damage, RegExp][] = [
    ["an empty bundle", "encoder-weights", ({ tensors }) => tensors.clear(), /tensors: expected at least one/],
    ["inputs alone", "encoder-weights", onlyInputs, /tensors: expected at least one stage/],
    ["no start", "encoder-weights", drop("start"), /metadata start: expected one of .*, got none/],
    ["an unknown start", "encoder-weights", put("start", "encoder.stem"), /got encoder\.stem/],
    ["no kind", "encoder-weights", drop("kind"), /metadata kind: expected .*, got none/],
    ["an unknown kind", "encoder-weights", put("kind", "decoder"), /metadata kind: expected .*, got decoder/],
    ["no config", "encoder-weights", drop("config"), /metadata config: expected a value, got none/],
    ["a config that is no JSON", "encoder-weights", put("config", "{"), /metadata config: content at character 1: expected/],
    ["a config without its fields", "encoder-weights", put("config", "{}"), /metadata config: audio_config/],
    ["no weights", "encoder-weights", drop("weights"), /metadata weights: expected a value/],
    ["unknown weights", "encoder-weights", put("weights", "disk"), /expected bundle or generator, got disk/],
    ["a rule that is none", "llm-one-token", put("audio_token_rule", "half"), /expected all or low_frame_rate/],
    ["steps that are no number", "llm-one-token", put("cached_steps", "-1"), /metadata cached_steps: expected/],
    ["more steps than rows", "llm-one-token", put("cached_steps", "99"), /metadata cached_steps: expected/],
    ["a seed that is no number", "llm-one-token", put("generator_seed", "x"), /metadata generator_seed/],
    ["more new tokens than positions", "model-untied", put("generate", "99999"), /passes the model's 40960/],
    ["no input", "encoder-weights", ({ tensors }) => tensors.delete("input.features"), /input\.features/],
    ["an input of another rank", "encoder-weights", reshape("input.features", [616]), /input\.features/],
    ["an input of another width", "encoder-weights", reshape("input.features", [22, 28]), /\[?\b22\b|28/],
    ["no ids", "model-untied", ({ tensors }) => tensors.delete("input.token_ids"), /input\.token_ids/],
    ["a missing weight", "encoder-weights",
      ({ tensors }) => tensors.delete("weights.model.audio_tower.layers.0.mlp.fc1.bias"),
      /tensor "model\.audio_tower\.layers\.0\.mlp\.fc1\.bias": expected a tensor of that name, got none/],
  ]; // prettier-ignore
  it.each(cases)("%s", async (_, name, damage, message) => {
    expect(await refused(name, (parts) => void damage(parts))).toMatch(message);
  });

  it.each([
    ["that fall", [0, 20, 10, 29]],
    ["that do not begin at 0", [1, 29]],
    ["that end too late", [0, 31]],
    ["with an empty clip", [0, 5, 5, 29]],
  ])("offsets %s", async (_, offsets) => {
    const message = await refused("encoder-funasr", ({ tensors }) => {
      const data = new Uint8Array(BigInt64Array.from(offsets.map(BigInt)).buffer);
      tensors.set("input.segments", { name: "input.segments", dtype: "I64", shape: [offsets.length], data });
    });
    expect(message).toMatch(/input\.segments: expected offsets that rise from 0 to 29/);
  });

  it("ids outside the vocabulary", async () => {
    const message = await refused("model-untied", ({ tensors }) => {
      const { data } = tensors.get("input.token_ids")!;
      new BigInt64Array((data as Uint8Array).buffer as ArrayBuffer)[0] = 5000n;
    });
    expect(message).toMatch(/below the vocabulary's 320, got 5000/);
  });

  it("are CheckpointErrors with their parts", async () => {
    const parts = await bundleParts("encoder-weights");
    parts.metadata.set("start", "nowhere");
    const error = await openParts(parts).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ file: "changed.safetensors", field: "metadata start", got: "nowhere" });
  });
});
