// Plan: an error names the contents of a directory that is not a model, and gives advice. Wrapped
// names open as plain ones.
import { describe, expect, test } from "vitest";
import { fixtureFiles, refusal, utf8 } from "../../test/helpers/checkpoint.js";
import { layoutFiles, readWhole } from "../../test/helpers/layouts.js";
import { decodeAudio } from "../frontend/decode.js";
import { openCheckpoint } from "./checkpoint.js";
import { ConfigReader } from "../config/reader.js";
import { unwrappedNames } from "../config/wrappers.js";
import { splitLora } from "./lora/funasr.js";
import { openLlm } from "./migrate/open-llm.js";
import { openSafetensors, readTensor } from "./safetensors/safetensors.js";
import { safetensorsBytes } from "./safetensors/write.js";
import { bytesSource, memoryFiles } from "./source.js";

const pointer = utf8(
  `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 1789000000\n`,
);

// Plan: a pointer instead of each file of each layout.
describe("Git LFS pointers", () => {
  test.each([
    ["hf", "model.safetensors"],
    ["hf", "config.json"],
    ["nano", "model.pt"],
    ["nano", "config.yaml"],
    ["nano", "Qwen3-0.6B/config.json"],
  ])("%s: %s", async (layout, file) => {
    const files = layoutFiles(layout);
    files.set(file, pointer);
    const error = await refusal(() => openCheckpoint(memoryFiles("m", files)));
    expect(error.message).toBe(
      `m/${file}: content: expected the file itself, got a Git LFS pointer of 135 bytes; run \`git lfs pull\` in that directory, or download the model by its hub name`,
    );
  });
});

test("a Git LFS pointer instead of a clip", async () => {
  await expect(decodeAudio(pointer, "a.wav")).rejects.toThrow(
    "a.wav: content: expected the file itself, got a Git LFS pointer; run `git lfs pull` in that directory",
  );
});

// Plan: directories with unsupported weights, opened as a checkpoint and as a language model.
describe("unsupported weights", () => {
  test.each([
    [["adapter_config.json", "adapter_model.safetensors"], /got adapter_config\.json and 1 more; .*--lora/],
    [["pytorch_model.bin", "config.json"], /got pytorch_model\.bin; load it in transformers/],
    [
      ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"],
      /got pytorch_model-00001-of-00002\.bin and 1 more; load it/,
    ],
    [
      ["model.pt.best", "config.yaml"],
      /got model\.pt\.best; .* name the one that is meant, such as DIR\/model\.pt\.best/,
    ],
    [["model.pt.ep10", "model.pt.ep9"], /got model\.pt\.ep10 and 1 more; /],
    [["funasr-nano.gguf", "other.gguf"], /got funasr-nano\.gguf and 1 more; a GGUF model is one file/],
    [["README.md"], /^m: model\.safetensors or .*: expected a file of that name/],
  ] as const)("%j", async (names, message) => {
    for (const open of [openCheckpoint, openLlm]) {
      const files = memoryFiles("m", new Map(names.map((name) => [name, utf8("{}")])));
      expect((await refusal(() => open(files))).message).toMatch(message);
    }
  });
});

// Plan: each wrapper at the start, inside, nested, and in only some names. Each opens as the plain
// checkpoint. If two names would become equal, no name changes, and the error names the wrapper.
describe("wrapped names", () => {
  const names = ["model.a.0.weight", "lm_head.weight"];
  test.each([
    ["_orig_mod.model.a.0.weight", "_orig_mod.lm_head.weight"],
    ["module._orig_mod.model.a.0.weight", "module._orig_mod.lm_head.weight"],
    ["_orig_mod.module.base_model.model.model.a.0.weight", "lm_head.weight"],
    ["_fsdp_wrapped_module.model.a._fsdp_wrapped_module.0.weight", "lm_head.weight"],
    ["model._orig_mod.a.0._checkpoint_wrapped_module.weight", "_forward_module.lm_head.weight"],
    ["model.module.a.0.base_layer.weight", "lm_head.weight"],
    names,
  ])("%s, %s", (...wrapped) => {
    expect([...unwrappedNames(wrapped).values()]).toEqual(names);
  });

  test("unchanged: parts that only resemble wrappers, two names that would become equal, no names", () => {
    for (const unchanged of [
      ["model.submodule.a", "my_orig_mod.b", "base_model.a", "x.base_layers.c"],
      ["module.a", "a", "module.b"],
      [],
    ])
      expect([...unwrappedNames(unchanged)]).toEqual(unchanged.map((name) => [name, name]));
  });

  const within = (part: string) => (name: string) => name.replace(".layers.", `.${part}layers.`);
  const embedding = "model.language_model.embed_tokens.weight";
  type Rename = (name: string) => string;
  test.each<[string, Rename]>([
    ["_orig_mod. before all", (name) => `_orig_mod.${name}`],
    ["module._orig_mod. before all", (name) => `module._orig_mod.${name}`],
    ["base_model.model. before all", (name) => `base_model.model.${name}`],
    ["_fsdp_wrapped_module. before all", (name) => `_fsdp_wrapped_module.${name}`],
    ["_orig_mod. before all but one", (name) => (name === embedding ? name : `_orig_mod.${name}`)],
    ["_orig_mod. after model.", (name) => name.replace("model.", "model._orig_mod.")],
    ["_orig_mod. in the LLM", (name) => name.replace("language_model.", "language_model._orig_mod.")],
    ["module. in the encoder", (name) => name.replace("audio_tower.", "audio_tower.module.")],
    ["_checkpoint_wrapped_module. in each layer", within("_checkpoint_wrapped_module.")],
    ["peft's base_layer.", (name) => name.replace(".q_proj.weight", ".q_proj.base_layer.weight")],
  ])("%s: the same checkpoint", async (_, rename) => {
    const files = fixtureFiles("tiny");
    const plain = await openCheckpoint(memoryFiles("m", new Map(files)));
    files.set("model.safetensors", await renamed(files.get("model.safetensors")!, rename));
    const wrapped = await openCheckpoint(memoryFiles("m", files));
    expect([...wrapped.tensors.keys()].sort()).toEqual([...plain.tensors.keys()].sort());
    for (const name of plain.tensors.keys())
      expect(await readWhole(wrapped, name)).toEqual(await readWhole(plain, name));
  });

  test("two tensors that would become one: the error names the wrapper", async () => {
    const files = fixtureFiles("tiny");
    const added = await renamed(files.get("model.safetensors")!, (name) => name, `_orig_mod.${embedding}`);
    files.set("model.safetensors", added);
    expect((await refusal(() => openCheckpoint(memoryFiles("m", files)))).message).toContain(
      'a left-over one (0 missing, 1 left over, 0 of another shape, 150 in the file); two names are the same without "_orig_mod.", which a wrapper adds: keep one of the two',
    );
  });
});

/** A safetensors file with other names, and a copy of its embedding under the name `more`. */
async function renamed(
  bytes: Uint8Array,
  rename: (name: string) => string,
  more?: string,
): Promise<Uint8Array> {
  const file = await openSafetensors(bytesSource("f", bytes));
  const tensors = [...file.tensors.values()].flatMap(({ name, dtype, shape }) => {
    const tensor = { name: rename(name), dtype, shape, data: () => readTensor(file, name) };
    return name.endsWith("embed_tokens.weight") && more ? [tensor, { ...tensor, name: more }] : [tensor];
  });
  return safetensorsBytes(tensors, file.metadata);
}

test.each(["C:\\models\\Qwen3-0.6B", "models\\Qwen3-0.6B\\\\", "/models/Qwen3-0.6B/"])(
  "init_param_path %s",
  async (path) => {
    const files = layoutFiles("nano");
    const yaml = new TextDecoder().decode(files.get("config.yaml"));
    expect(yaml).toContain("init_param_path: Qwen3-0.6B");
    files.set("config.yaml", utf8(yaml.replace("init_param_path: Qwen3-0.6B", `init_param_path: ${path}`)));
    await (await openCheckpoint(memoryFiles("m", files))).close();
  },
);

test("a FunASR LoRA without its base, given as a model", () => {
  const container = { name: "m", tensors: new Map([["llm.q.lora_A", { name: "llm.q.lora_A" }]]) } as never;
  expect(() => splitLora(container, ConfigReader.of({}, "m/config.yaml"))).toThrow(
    "m: model.pt: expected a model, got a LoRA alone, 1 tensors; give its base as the model, and this directory with --lora",
  );
});

// Plan: 10,000 lists of names from parts of wrappers. Different names stay different.
test("10,000 lists of names", () => {
  const parts = ["_orig_mod.", "module.", "base_model.model.", "base_layer.", "model.", "a", "", ".", "é"];
  let state = 1;
  const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;
  for (let i = 0; i < 10_000; i++) {
    const name = (): string => Array.from({ length: random(6) }, () => parts[random(9)]).join("");
    const names = new Set(Array.from({ length: random(4) }, name));
    const unwrapped = unwrappedNames(names);
    expect([...unwrapped.keys()]).toEqual([...names]);
    expect(new Set(unwrapped.values()).size).toBe(names.size);
  }
});
