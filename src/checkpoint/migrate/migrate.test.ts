import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { refusal, utf8 } from "../../../test/helpers/checkpoint.js";
import { layoutFiles, readWhole } from "../../../test/helpers/layouts.js";
import { qwen3File } from "../../../test/helpers/qwen3.js";
import { llmFiles } from "../../../test/helpers/tiny-llm.js";
import { tinyFiles } from "../../../test/helpers/tiny-model.js";
import { writtenFiles } from "../../../test/helpers/written.js";
import { funasrTemplate } from "../../tokenizer/funasr-template.js";
import { openCheckpoint } from "../checkpoint.js";
import { toFloat32 } from "../../formats/dtypes.js";
import { encoderMismatch, encoderSha256 } from "./encoder-hash.js";
import { initialTensor } from "./linear-init.js";
import { type MigrateOptions, type Migration, planMigration } from "./migrate.js";
import { openLlm } from "./open-llm.js";
import { safetensorsBytes } from "../safetensors/write.js";
import { memoryFiles } from "../source.js";

type Files = Map<string, Uint8Array>;

const sha256 = (): ReturnType<typeof createHash> => createHash("sha256");
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

async function migrate(source: Files, llm: Files, options: Partial<MigrateOptions> = {}): Promise<Migration> {
  return planMigration(
    await openCheckpoint(memoryFiles("nano", source)),
    await openLlm(memoryFiles("qwen3", llm)),
    { template: funasrTemplate, sha256, ...options },
  );
}

const written = async (migration: Migration): Promise<Files> => writtenFiles(migration.files);

describe("the checkpoint", () => {
  test("encoder, linear_1 and LLM keep their bits, the LLM its shards; the adaptor is new", async () => {
    const [source, llm] = [await tinyFiles(), await llmFiles()];
    const out = await written(await migrate(source, llm, { blocks: 3 }));
    expect([...out.keys()].filter((name) => name.includes("safetensors"))).toEqual([
      "model-00001-of-00003.safetensors",
      "model-00002-of-00003.safetensors",
      "model-00003-of-00003.safetensors",
      "model.safetensors.index.json",
    ]);
    const after = await openCheckpoint(memoryFiles("out", out));
    const nano = await openCheckpoint(memoryFiles("nano", source));
    const qwen3 = await openLlm(memoryFiles("qwen3", llm));
    expect(after.config).toMatchObject({
      adaptor: { hiddenSize: 96, heads: 8, intermediateSize: 24, layers: 3, projectorHiddenSize: 40 },
      encoder: nano.config.encoder,
      llm: qwen3.config.llm,
      audioTokenId: 1035,
    });
    const isAdaptor = (name: string): boolean => name.startsWith("model.multi_modal_projector.");
    for (const name of after.tensors.keys()) {
      if (isAdaptor(name) && !name.includes(".linear_1.")) continue;
      const from = nano.tensors.has(name) && !name.startsWith("model.language_model.") ? nano : qwen3;
      const want = await from.read(from.tensors.get(name)!, 0, from.tensors.get(name)!.byteLength);
      expect(await readWhole(after, name), name).toEqual(want);
    }
    const shardOf = (name: string): string => after.tensors.get(name)!.file.slice(0, 11);
    for (const [name, { file }] of qwen3.tensors)
      expect(shardOf(name), name).toBe(file === "a.safetensors" ? "model-00002" : "model-00003");
    expect(after.ignored).toEqual([]);
  });

  test("has the LLM's tokenizer and stop ids, and the source's front-end and prompts", async () => {
    const [source, llm] = [await tinyFiles({ rule: "low_frame_rate" }), await llmFiles()];
    source.set("processor_config.json", json({ feature_extractor: { waveform_scale: 32768 } }));
    llm.set("generation_config.json", json({ eos_token_id: [1032], temperature: 0.6, do_sample: true }));
    const after = await openCheckpoint(memoryFiles("out", await written(await migrate(source, llm))));
    expect((await after.assets.tokenizer()).json).toEqual(
      JSON.parse(new TextDecoder().decode(llm.get("tokenizer.json"))),
    );
    expect((await after.assets.generation()).json).toEqual({
      do_sample: false,
      eos_token_id: [1032, 1034],
      pad_token_id: 1032,
    });
    expect((await after.assets.frontend()).json).toMatchObject({
      feature_extractor: { waveform_scale: 32768 },
    });
    expect((await after.assets.prompt()).template).toBe(
      new TextDecoder().decode(source.get("chat_template.jinja")),
    );
    expect(after.config.audioTokenRule).toBe("low_frame_rate");
  });

  test("prompts of an LLM that can think have an empty thought, unless an option says otherwise", async () => {
    const [source, llm] = [await tinyFiles(), await llmFiles()];
    const config = JSON.parse(new TextDecoder().decode(llm.get("tokenizer_config.json"))) as object;
    const { chat_template } = qwen3File("tokenizer_config.json");
    llm.set("tokenizer_config.json", json({ ...config, chat_template }));
    const template = async (options: Partial<MigrateOptions>): Promise<string> => {
      const after = await openCheckpoint(
        memoryFiles("out", await written(await migrate(source, llm, options))),
      );
      return (await after.assets.prompt()).template!;
    };
    const plain = new TextDecoder().decode(source.get("chat_template.jinja"));
    expect(await template({})).toBe(
      plain + "{%- if add_generation_prompt -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}\n",
    );
    expect(await template({ emptyThought: false })).toBe(plain);
    source.delete("chat_template.jinja");
    expect(await template({})).toBe(funasrTemplate({ emptyThought: true }));
  });

  test("a source of another layout keeps its encoder's bits", async () => {
    const llm = await llmFiles();
    const after = await openCheckpoint(
      memoryFiles("out", await written(await migrate(layoutFiles("nano"), llm))),
    );
    const before = await openCheckpoint(memoryFiles("nano", layoutFiles("nano")));
    for (const name of before.tensors.keys())
      if (name.startsWith("model.audio_tower."))
        expect(await readWhole(after, name), name).toEqual(await readWhole(before, name));
  });
});

describe("the adaptor", () => {
  const equal = (a: Float32Array, b: Float32Array): boolean => a.every((v, i) => v === b[i]);
  const linears = async (options: Partial<MigrateOptions>): Promise<Map<string, Float32Array>> => {
    const after = await openCheckpoint(
      memoryFiles("out", await written(await migrate(await tinyFiles(), await llmFiles(256), options))),
    );
    const values = new Map<string, Float32Array>();
    for (const { name, dtype } of after.tensors.values())
      if (name.startsWith("model.multi_modal_projector."))
        values.set(name.slice(28), toFloat32(await readWhole(after, name), dtype));
    return values;
  };

  test("the seed decides the values; linear_1 stays, unless an option says otherwise", async () => {
    const [a, again, b, anew] = await Promise.all(
      [{ seed: 3 }, { seed: 3 }, { seed: 4 }, { seed: 3, reuse: "none" as const }].map(linears),
    );
    expect(again).toEqual(a);
    for (const [name, values] of a) {
      const same = name.includes("norm") || name.startsWith("linear_1.");
      expect(equal(b.get(name)!, values), name).toBe(same);
      expect(equal(anew.get(name)!, values), name).toBe(!name.startsWith("linear_1."));
    }
  });

  // Kolmogorov-Smirnov against the uniform distribution: sqrt(n) D is below 1.95 in 99.9 % of
  // draws; the seed is fixed
  test.each([
    ["weight", [512, 96], 96],
    ["weight", [2048, 144], 144],
    ["bias", [4096], 36],
  ])("a linear layer's %s %j is uniform in ±1/√%d", async (kind, shape, fanIn) => {
    const tensor = initialTensor(`linear_2.${kind}`, shape, fanIn, { seed: 11, dtype: "F32" });
    const bytes = await safetensorsBytes([tensor]);
    const values = new Float32Array(
      bytes.slice(bytes.length - 4 * shape.reduce((a, b) => a * b)).buffer,
    ).sort();
    const bound = 1 / Math.sqrt(fanIn);
    let distance = 0;
    values.forEach((v, i) => {
      const p = (v / bound + 1) / 2;
      distance = Math.max(distance, Math.abs((i + 1) / values.length - p), Math.abs(i / values.length - p));
    });
    expect(Math.max(...values.subarray(-1), -values[0])).toBeLessThanOrEqual(bound);
    expect(distance * Math.sqrt(values.length)).toBeLessThan(1.95);
  });

  test("neighbouring values, and tensors with similar names, are not correlated", async () => {
    const draw = async (name: string): Promise<Float32Array> => {
      const bytes = await safetensorsBytes([initialTensor(name, [65536], 1, { seed: 0, dtype: "F32" })]);
      return new Float32Array(bytes.slice(bytes.length - 4 * 65536).buffer);
    };
    const [a, b] = [await draw("layers.0.mlp.fc1.bias"), await draw("layers.0.mlp.fc2.bias")];
    const correlation = (x: Float32Array, y: Float32Array, lag: number): number =>
      (x.reduce((sum, v, i) => sum + v * y[(i + lag) % y.length], 0) / x.length) * 3;
    for (const lag of [1, 2, 3, 16, 256])
      expect(Math.abs(correlation(a, a, lag)), `lag ${lag}`).toBeLessThan(0.02);
    for (const lag of [0, 1, 2]) expect(Math.abs(correlation(a, b, lag)), `lag ${lag}`).toBeLessThan(0.02);
  });

  test("norms are 1 and 0", async () => {
    const values = await linears({});
    const norms = [...values].filter(([name]) => name.includes("norm"));
    expect(norms).toHaveLength(8);
    for (const [name, v] of norms)
      expect(new Set(v), name).toEqual(new Set([name.endsWith("weight") ? 1 : 0]));
  });
});

describe("the encoder's hash", () => {
  test("is stored, does not depend on sharding, and shows a changed encoder", async () => {
    const source = await tinyFiles();
    const migration = await migrate(source, await llmFiles());
    const out = await written(migration);
    const nano = await openCheckpoint(memoryFiles("nano", source));
    expect(migration.encoderSha256).toBe(await encoderSha256(nano, sha256()));
    const after = await openCheckpoint(memoryFiles("out", out));
    expect(after.config.encoderSha256).toBe(migration.encoderSha256);
    expect(after.metadata.get("encoder_sha256")).toBe(migration.encoderSha256);
    expect(await encoderMismatch(after, sha256())).toBeUndefined();
    expect(await encoderMismatch(nano, sha256())).toBeUndefined(); // its files have no hash
    const shard = out.get("model-00001-of-00003.safetensors")!;
    const other = await tinyFiles({ seed: 2 });
    const changed = await written(await migrate(other, await llmFiles()));
    out.set("model-00001-of-00003.safetensors", changed.get("model-00001-of-00003.safetensors")!);
    expect(shard).not.toEqual(out.get("model-00001-of-00003.safetensors"));
    const swapped = await openCheckpoint(memoryFiles("out", out));
    expect(await encoderMismatch(swapped, sha256())).toMatch(
      /^out\/config\.json: encoder_sha256: the adaptor was made for encoder [0-9a-f]{12}, this one is [0-9a-f]{12}; take /,
    );
  });
});

test("a tensor is read in pieces", async () => {
  const nano = await openCheckpoint(memoryFiles("nano", await tinyFiles()));
  const llm = await openLlm(memoryFiles("qwen3", await llmFiles()));
  const [rows, width] = [200_000, 96];
  const name = "model.language_model.embed_tokens.weight";
  const embed = { ...llm.tensors.get(name)!, shape: [rows, width], byteLength: 2 * rows * width };
  let most = 0;
  const read = (_: unknown, _at: number, length: number): Promise<Uint8Array> => {
    most = Math.max(most, length);
    return Promise.resolve(new Uint8Array(length));
  };
  const config = { llm: { ...llm.config.llm, vocabSize: rows } };
  const large = { ...llm, config, tensors: new Map([...llm.tensors, [name, embed] as const]), read };
  const { files } = await planMigration(nano, large, { template: funasrTemplate, sha256 });
  let bytes = 0;
  for (const file of files) for await (const piece of file.pieces()) bytes += piece.byteLength;
  expect(bytes).toBeGreaterThan(2 * rows * width);
  expect(most).toBe(4 << 20);
});

describe("refusals", () => {
  const edited = async (
    file: string,
    change: (value: Record<string, unknown>) => unknown,
  ): Promise<Files> => {
    const files = await llmFiles();
    const value = JSON.parse(new TextDecoder().decode(files.get(file))) as Record<string, unknown>;
    return files.set(file, json(change(value)));
  };
  const withoutToken = async (token: string): Promise<Files> => {
    const files = await llmFiles();
    const tokenizer = JSON.parse(new TextDecoder().decode(files.get("tokenizer.json"))) as {
      added_tokens: { content: string }[];
    };
    tokenizer.added_tokens = tokenizer.added_tokens.filter(({ content }) => content !== token);
    files.delete("tokenizer_config.json");
    return files.set("tokenizer.json", json(tokenizer));
  };
  const message = async (source: Promise<Files> | Files, llm: Promise<Files>): Promise<string> =>
    (await refusal(async () => migrate(await source, await llm))).message;

  test("a vocabulary without the audio token, or without a turn's end", async () => {
    expect(await message(tinyFiles(), withoutToken("<|object_ref_start|>"))).toBe(
      "qwen3/tokenizer.json: <|object_ref_start|>: expected an added token of that name with an id below 1072, got nothing; is this the tokenizer of a Qwen3?",
    );
    expect(await message(tinyFiles(), withoutToken("<|im_end|>"))).toMatch(
      /^qwen3\/tokenizer\.json: <\|im_end\|>: expected /,
    );
  });

  test("an LLM that is not a Qwen3, or a Qwen3 that this engine does not run", async () => {
    const llama = edited("config.json", (c) => ({
      ...c,
      model_type: "llama",
      architectures: ["LlamaForCausalLM"],
    }));
    expect(await message(tinyFiles(), llama)).toBe(
      'qwen3/config.json: model_type: expected "qwen3", got "llama"',
    );
    const biased = edited("config.json", (c) => ({ ...c, attention_bias: true }));
    expect(await message(tinyFiles(), biased)).toMatch(
      /^qwen3\/config\.json: attention_bias: expected false, got true/,
    );
  });

  test("a width that is not a multiple of 8 heads, or is too large", async () => {
    expect(await message(tinyFiles(), llmFiles(80))).toBe(
      "qwen3/config.json: hidden_size: expected a multiple of 32 up to 4096, for the adaptor's 8 heads, got 80; take another LLM",
    );
    expect(await message(tinyFiles(), llmFiles(4128))).toMatch(
      /hidden_size: expected a multiple of 32 up to 4096, .* got 4128/,
    );
  });

  test("an encoder that does not match its adaptor, or its front-end", async () => {
    const change = (part: Record<string, unknown>) => (config: Record<string, unknown>) => ({
      ...config,
      audio_config: { ...(config["audio_config"] as object), ...part },
    });
    const wide = tinyFiles({ editConfig: change({ hidden_size: 48 }) });
    expect(await message(wide, llmFiles())).toMatch(
      /^nano: tensor "model\.audio_tower\.layers\.0\.mlp\.fc1\.weight": expected \[48, 48\], got \[48, 32\]/,
    );
    const unfit = await tinyFiles();
    unfit.set("processor_config.json", json({ feature_extractor: { feature_size: 40 } }));
    expect(await message(unfit, llmFiles())).toBe(
      "nano/config.json: front-end: expected mel bins times stacked frames of the encoder's input 560, got 40 times 7",
    );
  });

  test("a language model instead of the source", async () => {
    expect(await message(llmFiles(), llmFiles())).toBe(
      'nano/config.json: model_type: expected "fun_asr_nano", got "qwen3"; nothing else is implemented',
    );
  });
});
