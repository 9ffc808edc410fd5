import { describe, expect, test } from "vitest";
import { refusal } from "../../../test/helpers/checkpoint.js";
import { GGUF_PAIR, ggufFixture, ggufPair } from "../../../test/helpers/gguf.js";
import { qwen3Directory, qwen3Files } from "../../../test/helpers/qwen3-directory.js";
import { tinyFiles, tinyModel } from "../../../test/helpers/tiny-model.js";
import { parseLlmConfig } from "../../config/model-config.js";
import type { Checkpoint } from "../checkpoint.js";
import { openCheckpoint } from "../checkpoint.js";
import { expectedTensors } from "../../config/expected-tensors.js";
import { parseJsonObject } from "../json.js";
import { openLlm } from "./open-llm.js";
import { safetensorsBytes } from "../safetensors/write.js";
import type { WriteTensor } from "../safetensors/write.js";
import { memoryFiles } from "../source.js";
import type { ModelFiles } from "../source.js";

// Plan: a Qwen3 of transformers, in one file or shards, tied or not, opens with canonical names and
// the same bytes. So does the LLM of a Fun-ASR checkpoint. Other models are refused in one line.

type Parts = Pick<Checkpoint, "config">["config"]["llm"];

const bytesOf = async (files: ModelFiles): Promise<Map<string, Uint8Array>> => {
  const checkpoint = await openLlm(files);
  const read = new Map<string, Uint8Array>();
  for (const entry of checkpoint.tensors.values())
    read.set(entry.name, await checkpoint.read(entry, 0, entry.byteLength));
  await checkpoint.close();
  return read;
};

describe("Qwen3 alone", () => {
  test.each(["tied", "untied"] as const)("%s", async (name) => {
    const checkpoint = await openLlm(qwen3Directory(name));
    const { config, tensors, ignored, layout } = checkpoint;
    const expected = expectedTensors(config);
    expect([...tensors.keys()].sort()).toEqual([...expected.keys()].sort());
    expect([...expected.keys()].every((key) => /^(model\.language_model\.|lm_head\.)/.test(key))).toBe(true);
    expect(tensors.has("lm_head.weight")).toBe(name === "untied");
    expect([layout, ignored, config.llm.tiedHead]).toEqual(["transformers", [], name === "tied"]);
    const embedding = tensors.get("model.language_model.embed_tokens.weight");
    expect(embedding).toMatchObject({
      sourceName: "model.embed_tokens.weight",
      shape: [1064, 24],
      dtype: "BF16",
    });
    expect(checkpoint.totalBytes).toBe(2 * checkpoint.parameterCount);
    expect(checkpoint.parameterCount).toBe(
      [...expected.values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b), 0),
    );
    await checkpoint.close();
  });

  test("names of Qwen3Model, without the prefix model.", async () => {
    const before = await bytesOf(qwen3Directory("tied"));
    const { llm } = (await openLlm(qwen3Directory("tied"))).config;
    const bare = await written(llm, before, (name) => name.replace("model.language_model.", ""));
    expect(await bytesOf(bare)).toEqual(before);
  });

  test("a stored tied head is ignored", async () => {
    const before = await bytesOf(qwen3Directory("tied"));
    const { llm } = (await openLlm(qwen3Directory("tied"))).config;
    const table = before.get("model.language_model.embed_tokens.weight")!;
    const both = new Map([...before, ["lm_head.weight", table]]);
    const checkpoint = await openLlm(await written(llm, both, (name) => name.replace(".language_model", "")));
    expect(checkpoint.ignored.map(({ name }) => name)).toEqual(["lm_head.weight"]);
    expect([...checkpoint.tensors.keys()]).toEqual([...before.keys()]);
  });
});

/** The tiny model's tensors under other names, in one file, and its config. */
async function written(
  llm: Parts,
  tensors: ReadonlyMap<string, Uint8Array>,
  rename: (name: string) => string,
): Promise<ModelFiles> {
  const shapes = expectedTensors({ llm: { ...llm, tiedHead: false } });
  const list = [...tensors].map(([name, data]): WriteTensor => ({
    name: rename(name),
    dtype: "BF16",
    shape: shapes.get(name)!,
    data: data.slice(),
  }));
  const files = qwen3Files("tied");
  files.set("model.safetensors", await safetensorsBytes(list));
  return memoryFiles("qwen3", files);
}

describe("GGUF", () => {
  const q4 = "qwen3-tiny-q4km.gguf";

  test("the only file of a directory is the model", async () => {
    const checkpoint = await openLlm(memoryFiles("m", new Map([[q4, ggufFixture(q4)]])));
    expect(checkpoint.layout).toBe("gguf");
    expect([...checkpoint.tensors.keys()].sort()).toEqual(
      [...expectedTensors(checkpoint.config).keys()].sort(),
    );
    expect([...checkpoint.tensors.values()].some(({ dtype }) => dtype === "Q4_K")).toBe(true);
    await checkpoint.close();
  });

  test("a named file, and the LLM of a pair", async () => {
    const named = await openLlm(ggufPair({ [q4]: ggufFixture(q4) }), q4);
    expect(named.configFile).toBe(`m/${q4}`);
    const llm = await openLlm(ggufPair());
    const alone = await openLlm(ggufPair(), GGUF_PAIR.llm);
    expect(alone.config).toEqual(llm.config);
    expect([...llm.tensors.keys()].sort()).toEqual([...alone.tensors.keys()].sort());
  });

  test("an encoder without an LLM is refused", async () => {
    const files = new Map([[GGUF_PAIR.encoder, ggufFixture(`pair/${GGUF_PAIR.encoder}`)]]);
    expect((await refusal(() => openLlm(memoryFiles("m", files)))).message).toMatch(/^m: qwen3-\*\.gguf: /);
  });
});

test("the LLM of a Fun-ASR checkpoint has only the LLM's tensors", async () => {
  const whole = await openCheckpoint(await tinyModel({ seed: 2, tied: false }));
  const llm = await openLlm(await tinyModel({ seed: 2, tied: false }));
  expect(llm.config.llm).toEqual(whole.config.llm);
  expect([...llm.tensors.keys()].sort()).toEqual([...expectedTensors(llm.config).keys()].sort());
  expect(llm.totalBytes).toBeLessThan(whole.totalBytes);
  const entry = llm.tensors.get("lm_head.weight")!;
  expect(await llm.read(entry, 64, 32)).toEqual(await whole.read(whole.tensors.get(entry.name)!, 64, 32));
});

describe("refusals", () => {
  const edited = async (change: (config: Record<string, unknown>) => void): Promise<string> => {
    const files = qwen3Directory("tied", (all) => {
      const text = new TextDecoder().decode(all.get("config.json"));
      const config = { ...parseJsonObject(text, "config.json", "content") };
      change(config);
      all.set("config.json", new TextEncoder().encode(JSON.stringify(config)));
    });
    return (await refusal(() => openLlm(files))).message;
  };

  test("an untied head that is not stored", async () => {
    expect(await edited((config) => (config.tie_word_embeddings = false))).toMatch(
      /^qwen3: tensor "lm_head\.weight": expected a tensor of that name, got none \(1 missing, 0 left over/,
    );
  });

  test("another number of layers, another width", async () => {
    const shorter = { num_hidden_layers: 1, layer_types: ["full_attention"] };
    expect(await edited((config) => Object.assign(config, shorter))).toMatch(
      /^qwen3: tensor "model\.language_model\.layers\.1\..*: expected only tensors that the config asks for/,
    );
    expect(await edited((config) => (config.intermediate_size = 48))).toMatch(
      /expected \[24, 48\], got \[24, 32\]/,
    );
  });

  test("another model, a field that is missing", async () => {
    expect(await edited((config) => (config.model_type = "llama"))).toMatch(
      /^qwen3\/config\.json: model_type: expected .*, got "llama"/,
    );
    expect(await edited((config) => delete config.head_dim)).toBe(
      "qwen3/config.json: head_dim: expected a positive integer, got nothing",
    );
    expect(() => parseLlmConfig([])).toThrow("expected an object, got []");
  });

  test("weights of a Fun-ASR checkpoint with the config of an LLM", async () => {
    const other = await tinyFiles();
    const files = qwen3Directory("tied", (all) =>
      all.set("model.safetensors", other.get("model.safetensors")!),
    );
    expect((await refusal(() => openLlm(files))).message).toMatch(/^qwen3: tensor ".*": expected /);
  });

  test("no weights, no directory", async () => {
    const files = qwen3Directory("tied", (all) => all.delete("model.safetensors"));
    expect((await refusal(() => openLlm(files))).message).toMatch(
      /^qwen3: model\.safetensors or model\.safetensors\.index\.json: expected a file of that name, got none/,
    );
    expect((await refusal(() => openLlm(memoryFiles("none", new Map())))).message).toMatch(/^none: /);
  });
});
