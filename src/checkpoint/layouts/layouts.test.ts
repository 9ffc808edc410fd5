import { afterAll, describe, expect, test } from "vitest";
import { counted, refusal, utf8 } from "../../../test/helpers/checkpoint.js";
import { layoutFiles, layoutPath, readWhole } from "../../../test/helpers/layouts.js";
import { modelDirectory } from "../../node/files.js";
import { openCheckpoint } from "../checkpoint.js";
import type { Checkpoint } from "../checkpoint.js";
import { toFloat32 } from "../../formats/dtypes.js";
import { openSafetensors } from "../safetensors/safetensors.js";
import { safetensorsBytes } from "../safetensors/write.js";
import { bytesSource, memoryFiles } from "../source.js";

// Plan: one model, saved by FunASR, by transformers and by the MLX port. Each opens to the same
// tensors, with the same bits if the stored dtype is the same. A directory with one error is
// refused by name, and no file stays open.

const hf = await openCheckpoint(modelDirectory(layoutPath("hf")));
const nano = await openCheckpoint(modelDirectory(layoutPath("nano")));
const mlx = await openCheckpoint(modelDirectory(layoutPath("mlx")));
afterAll(() => Promise.all([hf, nano, mlx].map((c) => c.close())));

describe("FunASR's model.pt", () => {
  test("has exactly the tensors of the transformers layout, with the same bits", async () => {
    expect([...nano.tensors.keys()].sort()).toEqual([...hf.tensors.keys()].sort());
    for (const [name, { dtype, shape }] of hf.tensors) {
      expect(nano.tensors.get(name)).toMatchObject({ dtype, shape });
      expect(await readWhole(nano, name), name).toEqual(await readWhole(hf, name));
    }
    expect(nano.totalBytes).toBe(hf.totalBytes);
    expect(nano.parameterCount).toBe(hf.parameterCount);
  });

  test("from memory as from disk, and in pieces", async () => {
    const memory = await openCheckpoint(memoryFiles("m", layoutFiles("nano")));
    for (const [name, entry] of memory.tensors) {
      const whole = await readWhole(nano, name);
      expect(await readWhole(memory, name)).toEqual(whole);
      expect(await nano.read(entry, 2, entry.byteLength - 2)).toEqual(whole.subarray(2));
    }
  });

  test("q, k and v are thirds of the rows of one stored tensor", async () => {
    const attention = "model.audio_tower.layers.0.self_attn";
    const parts = ["q", "k", "v"].map((p) => nano.tensors.get(`${attention}.${p}_proj.weight`)!);
    expect(parts.map((p) => p.offset)).toEqual([0, 1, 2].map((i) => i * 16 * 28 * 4));
    expect(new Set(parts.map((p) => p.sourceName)).size).toBe(1);
    expect((await refusal(() => nano.read(parts[0], 1, parts[0].byteLength))).message).toContain(
      `/nano/model.pt: tensor "${attention}.q_proj.weight": expected a range inside its 1792 bytes, got 1792 bytes at 1`,
    );
  });

  test("the stored tied head is ignored; the CTC head is listed", () => {
    expect(nano.ignored.map((t) => t.sourceName)).toEqual(["llm.lm_head.weight"]);
    expect(nano.ctc.map((t) => t.name)).toContain("ctc.ctc_lo.weight");
    expect(nano.ctc.length).toBe(4 + 16 + 2); // two linears, one block, ctc_lo
    expect(hf.ctc).toEqual([]);
  });

  test("the config is that of the transformers layout, but for FunASR's audio-token rule", () => {
    const [expected, got] = [hf, nano].map((c) => ({ ...c.config, raw: undefined }));
    expect(got).toEqual({ ...expected, audioTokenRule: "low_frame_rate" });
    expect(got.adaptor.layerNormEps).toBe(1e-12);
    expect(got.encoder.layerNormEps).toBe(1e-5);
  });

  // Fun-ASR-Nano sets the flag; Fun-ASR-MLT-Nano's config.yaml does not have it
  test.each([
    ["true", "  use_low_frame_rate: true\n", "low_frame_rate"],
    ["false", "  use_low_frame_rate: false\n", "all"],
    ["null", "  use_low_frame_rate: null\n", "all"],
    ["left out", "", "all"],
  ])("use_low_frame_rate %s", async (_, line, rule) => {
    const files = layoutFiles("nano");
    const yaml = Buffer.from(files.get("config.yaml")!).toString();
    expect(yaml).toContain("  use_low_frame_rate: true\n");
    files.set("config.yaml", utf8(yaml.replace("  use_low_frame_rate: true\n", line)));
    const checkpoint = await openCheckpoint(memoryFiles("m", files));
    expect(checkpoint.config).toEqual({ ...nano.config, audioTokenRule: rule });
    await checkpoint.close();
  });

  test("front-end, tokenizer, prompt and stop ids", async () => {
    const { assets } = nano;
    expect((await assets.frontend()).json).toEqual({
      sampling_rate: 16000,
      feature_size: 4,
      frame_length: 25,
      frame_shift: 10,
      num_frames_lfr: 7,
      stride_lfr: 6,
      window: "hamming",
      waveform_scale: 32768,
      dither: 0,
    });
    expect((await assets.tokenizer()).json).toEqual((await hf.assets.tokenizer()).json);
    expect((await assets.generation()).json["eos_token_id"]).toEqual([258, 256]);
    expect(await assets.prompt()).toEqual({
      audioToken: "<|object_ref_start|>",
      emptyThought: false,
      systemTurn: true,
    });
    expect(nano.notes).toEqual([expect.stringMatching(/^FunASR adds noise to the waveform \(dither 1\)/)]);
  });
});

/** The MLX port's name → model.pt's. */
function portName(name: string): string {
  if (name.startsWith("llm.")) {
    const inner = name.startsWith("llm.lm_head.") ? name : name.replace("llm.", "llm.model.");
    return inner.replace(".attn.", ".self_attn.");
  }
  return name
    .replace(/^(encoder|adaptor)\./, "audio_$1.")
    .replace(".attn.qkv.", ".self_attn.linear_q_k_v.")
    .replace(".attn.fsmn.", ".self_attn.fsmn_block.")
    .replace(/\.attn\.(out|[qkv])\./, ".self_attn.linear_$1.")
    .replace(".ffn.w", ".feed_forward.w_");
}

describe("the MLX port's safetensors", () => {
  test("has the values of the transformers layout, which f16 can hold exactly", async () => {
    expect([...mlx.tensors.keys()].sort()).toEqual([...hf.tensors.keys()].sort());
    for (const [name, { dtype, shape }] of hf.tensors) {
      expect(mlx.tensors.get(name)).toMatchObject({ dtype: "F16", shape });
      const want = toFloat32(await readWhole(hf, name), dtype);
      expect(toFloat32(await readWhole(mlx, name), "F16"), name).toEqual(want);
    }
    expect(mlx.ignored.map((t) => t.sourceName)).toEqual(["llm.lm_head.weight"]); // equal to the embedding
  });

  test("sizes come from shapes; other settings from the released model, with a note", () => {
    const [expected, got] = [hf, mlx].map((c) => ({ ...c.config, raw: undefined }));
    const llm = { ...expected.llm, maxPositions: 40960 };
    expect(got).toEqual({ ...expected, llm, audioTokenRule: "low_frame_rate" });
    expect(mlx.notes).toEqual([
      "every size is taken from the tensors' shapes",
      expect.stringMatching(/^LLM rope_theta 1000000, rms_norm_eps 1e-6 and context 40960/),
      "encoder num_heads 4: no file says it, it is the released model's",
      "use_low_frame_rate true: no file says it, it is the released model's",
    ]);
  });

  test("a config.json with numbers, and no config.json", async () => {
    const files = layoutFiles("mlx");
    const json = { encoder: { num_heads: 2 }, adaptor: { attention_heads: 1 }, use_low_frame_rate: false };
    files.set("config.json", utf8(JSON.stringify({ ...json, llm: { rope_theta: 5e5 }, n_mels: 4 })));
    const { config } = await openCheckpoint(memoryFiles("m", files));
    expect([config.encoder.heads, config.adaptor.heads]).toEqual([2, 1]);
    expect([config.audioTokenRule, config.llm.ropeTheta]).toEqual(["all", 5e5]);
    files.delete("config.json");
    const bare = await openCheckpoint(memoryFiles("m", files));
    expect([bare.config.encoder.heads, bare.config.adaptor.heads]).toEqual([4, 8]);
    expect(bare.notes).toContain("adaptor attention_heads 8: no file says it, it is the released model's");
  });

  test("a port that keeps model.pt's names", async () => {
    const files = layoutFiles("mlx");
    const weights = await openSafetensors(bytesSource("x", files.get("model.safetensors")!));
    const renamed = [...weights.tensors.values()].map(({ name, dtype, shape, offset, byteLength }) => ({
      name: portName(name),
      dtype,
      shape,
      data: files.get("model.safetensors")!.subarray(offset, offset + byteLength),
    }));
    files.set("model.safetensors", await safetensorsBytes(renamed));
    const other = await openCheckpoint(memoryFiles("m", files));
    expect(other.layout).toBe("mlx");
    expect(other.tensors.get("model.audio_tower.layers.3.self_attn.k_proj.bias")!.sourceName).toBe(
      "audio_encoder.tp_encoders.0.self_attn.linear_q_k_v.bias",
    );
    for (const name of mlx.tensors.keys())
      expect(await readWhole(other, name)).toEqual(await readWhole(mlx, name));
  });

  test("names of both ports", async () => {
    const files = layoutFiles("mlx");
    const norm = (name: string) => ({ name, dtype: "F16", shape: [1], data: new Uint8Array(2) }) as const;
    const norms = [norm("encoder.after_norm.weight"), norm("audio_encoder.after_norm.weight")];
    files.set("model.safetensors", await safetensorsBytes(norms));
    expect((await refusal(() => openCheckpoint(memoryFiles("m", files)))).message).toBe(
      'm: tensor names: expected one spelling, got "encoder.after_norm.weight" (MLX) beside "audio_encoder.after_norm.weight" (FunASR); two checkpoints were mixed',
    );
  });

  test.each([
    [
      { quantization: { bits: 4 } },
      "m/config.json: quantization: expected none: weights in f32, f16 or bf16, got an object",
    ],
    [
      { encoder: { num_heads: 3 } },
      "m/config.json: encoder.num_heads: expected a divisor of the encoder's width 16, got 3",
    ],
    [{ encoder: [] }, "m/config.json: encoder: expected an object, got []"],
  ])("refused: %j", async (json, message) => {
    const files = layoutFiles("mlx");
    files.set("config.json", utf8(JSON.stringify(json)));
    expect((await refusal(() => openCheckpoint(memoryFiles("m", files)))).message).toBe(message);
  });
});

describe("a FunASR directory with an error", () => {
  async function refused(edit: (files: Map<string, Uint8Array>) => void): Promise<string> {
    const contents = layoutFiles("nano");
    edit(contents);
    const { files, open } = counted(memoryFiles("m", contents));
    const { message } = await refusal(() => openCheckpoint(files));
    expect(open()).toBe(0);
    return message;
  }
  const yaml = (files: Map<string, Uint8Array>, from: string | RegExp, to: string): void => {
    const text = new TextDecoder().decode(files.get("config.yaml"));
    expect(text).toMatch(from);
    files.set("config.yaml", utf8(text.replace(from, to)));
  };

  test.each([
    [
      "num_blocks: 3",
      "num_blocks: 4",
      /^m: tensor "model.audio_tower.layers.3.input_layernorm.weight": expected a tensor of that name, got none \(17 /,
    ],
    [
      "n_mels: 4",
      "n_mels: 8",
      /^m: tensor "model.audio_tower.layers.0.self_attn.q_proj.weight": expected \[16, 56\], got \[16, 28\]/,
    ],
    [
      "downsample_rate: 1",
      "downsample_rate: 2",
      /^m\/config.yaml: audio_adaptor_conf.downsample_rate: expected 1, got 2/,
    ],
    ["sanm_shfit: 0", "sanm_shfit: 5", /^m\/config.yaml: audio_encoder_conf.sanm_shfit: expected 0, got 5/],
    [
      "audio_adaptor: Transformer",
      "audio_adaptor: QFormer",
      /: audio_adaptor: expected "Transformer", got "QFormer"/,
    ],
    [
      "model: FunASRNano",
      "model: Paraformer",
      /^m\/config.yaml: model: expected "FunASRNano", got "Paraformer"/,
    ],
    ["cmvn_file: null", "cmvn_file: am.mvn", /frontend_conf.cmvn_file: expected none, got "am.mvn"/],
    [
      "init_param_path: Qwen3-0.6B",
      "init_param_path: /a/..",
      /init_param_path: expected a directory's path, got/,
    ],
    [
      "init_param_path: Qwen3-0.6B",
      "init_param_path: gone",
      /^m: gone\/config.json: expected a file of that name/,
    ],
    [
      "n_layer: 1",
      "n_layer: !!python/object:os.system 1",
      /^m\/config.yaml: content: expected YAML, got "?Unresolved/,
    ],
    [
      "n_layer: 1",
      "n_layer: 1\n  n_layer: 1",
      /^m\/config.yaml: content: expected YAML, got "?Map keys must be unique/,
    ],
    [/^/, "[".repeat(1000), /^m\/config.yaml: content: expected at most 64 levels, got more/],
    [/^/, "x: ".padEnd(300_000, "y"), /^m\/config.yaml: size: expected at most 64000 bytes/],
  ])("config.yaml: %s → %.40s", async (from, to, message) => {
    expect(await refused((files) => yaml(files, from, to))).toMatch(message);
  });

  test("YAML whose aliases unfold to a billion items", async () => {
    const levels = Array.from({ length: 12 }, (_, i) =>
      i === 0
        ? "a0: &a0 [x, x]"
        : `a${i}: &a${i} [${Array.from({ length: 9 }, () => `*a${i - 1}`).join(", ")}]`,
    );
    expect(await refused((files) => files.set("config.yaml", utf8(levels.join("\n"))))).toMatch(
      /^m\/config.yaml: content: expected YAML, got Excessive alias count/,
    );
  });

  test("no config.yaml, no LLM config, a tokenizer without the audio token", async () => {
    expect(await refused((files) => files.delete("config.yaml"))).toContain(
      "m: config.yaml: expected a file of that",
    );
    expect(await refused((files) => files.delete("Qwen3-0.6B/config.json"))).toContain(
      "m: Qwen3-0.6B/config.json:",
    );
    const without = (files: Map<string, Uint8Array>): unknown =>
      files.set("Qwen3-0.6B/tokenizer.json", utf8('{"added_tokens":[]}'));
    expect(await refused(without)).toBe(
      "m/Qwen3-0.6B/tokenizer.json: <|object_ref_start|>: expected an added token of that name with an id below 264, " +
        "got nothing; is this the tokenizer of a Qwen3?",
    );
  });

  test("model.pt cut short, empty, beside a safetensors file, or beside tensors of another spelling", async () => {
    const whole = layoutFiles("nano").get("model.pt")!;
    const cut = (length: number): Promise<string> =>
      refused((files) => files.set("model.pt", whole.slice(0, length)));
    expect(await cut(whole.length - 1)).toBe(
      "m/model.pt: zip end record: expected one, got none; the file is cut short, or is no zip archive",
    );
    expect(await cut(0)).toContain("m/model.pt: zip end record: expected one, got none");
    expect(await refused((files) => files.set("model.safetensors", new Uint8Array()))).toBe(
      "m: weights: expected one form of them, got model.safetensors beside model.pt; two checkpoints were mixed: move one away",
    );
  });

  test("do_think and sys_prompt reach the prompt", async () => {
    const files = layoutFiles("nano");
    yaml(files, /$/, "dataset_conf:\n  do_think: false\n  sys_prompt: false\n");
    const checkpoint: Checkpoint = await openCheckpoint(memoryFiles("m", files));
    expect(await checkpoint.assets.prompt()).toMatchObject({ emptyThought: true, systemTurn: false });
  });
});

// The defaults are right for a checkpoint of transformers; this package may have written another
// scale.
test.each([
  ["transformers", undefined, 0],
  ["this package", "all", 1],
])("a checkpoint of %s without processor_config.json has a note", async (_, audio_token_rule, warnings) => {
  const files = layoutFiles("hf");
  files.delete("processor_config.json");
  const config = JSON.parse(Buffer.from(files.get("config.json")!).toString()) as object;
  files.set("config.json", utf8(JSON.stringify({ ...config, audio_token_rule })));
  const checkpoint = await openCheckpoint(memoryFiles("m", files));
  const line = expect.stringContaining("processor_config.json: ") as string;
  expect(checkpoint.notes).toEqual([line]);
  expect(checkpoint.warnings).toEqual(Array(warnings).fill(line));
  await checkpoint.close();
});
