/**
 * Directories that people give as a model and that hold something else are named, with what to do; names that a wrapper has changed are
 * read as if it had not.
 */
import { describe, expect, test } from "vitest";
import { fixtureFiles, refusal, utf8 } from "../../test/helpers/checkpoint.js";
import { layoutFiles, readWhole } from "../../test/helpers/layouts.js";
import { decodeAudio } from "../frontend/decode.js";
import { openCheckpoint } from "./checkpoint.js";
import { ConfigReader } from "./config-reader.js";
import { wrapperPrefix } from "./foreign.js";
import { splitLora } from "./lora/funasr.js";
import { openLlm } from "./open-llm.js";
import { openSafetensors, readTensor } from "./safetensors.js";
import { safetensorsBytes } from "./safetensors-write.js";
import { bytesSource, memoryFiles } from "./source.js";

const pointer = utf8(
  `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 1789000000\n`,
);

// Plan: a pointer in the place of each file of each layout.
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

test("a Git LFS pointer in the place of a clip", async () => {
  await expect(decodeAudio(pointer, "a.wav")).rejects.toThrow(
    "a.wav: content: expected the file itself, got a Git LFS pointer; run `git lfs pull` in that directory",
  );
});

// Plan: the names of a directory without weights that are read; the same for a language model alone.
describe("weights of another kind", () => {
  test.each([
    [["adapter_config.json", "adapter_model.safetensors"], /got adapter_config\.json and 1 more; .*--lora/],
    [["pytorch_model.bin", "config.json"], /got pytorch_model\.bin; load it in transformers/],
    [
      ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"],
      /got pytorch_model-00001-of-00002\.bin and 1 more; load it/,
    ],
    [["model.pt.best", "config.yaml"], /got model\.pt\.best; .* the name model\.pt/],
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

describe("wrapped names", () => {
  test.each([
    ["_orig_mod.", "_orig_mod."],
    ["module.", "module."],
    ["base_model.model.", "base_model.model."],
    ["module._orig_mod.", "module._orig_mod."],
    ["_orig_mod.module.base_model.model.", "_orig_mod.module.base_model.model."],
    ["model.", ""],
    ["", ""],
  ])("%s", (prefix, found) => {
    expect(wrapperPrefix(["a.weight", "b.weight"].map((name) => prefix + name))).toBe(found);
  });

  test("a name without the prefix, or no name, leaves all as they are", () => {
    expect(wrapperPrefix(["module.a", "b"])).toBe("");
    expect(wrapperPrefix([])).toBe("");
  });

  test.each(["_orig_mod.", "module._orig_mod.", "base_model.model."])(
    "%s before every tensor: the same checkpoint",
    async (prefix) => {
      const files = fixtureFiles("tiny");
      const plain = await openCheckpoint(memoryFiles("m", new Map(files)));
      const file = await openSafetensors(bytesSource("f", files.get("model.safetensors")!));
      const tensors = [...file.tensors.values()].map(({ name, dtype, shape }) => ({
        name: prefix + name,
        dtype,
        shape,
        data: () => readTensor(file, name),
      }));
      files.set("model.safetensors", await safetensorsBytes(tensors, file.metadata));
      const wrapped = await openCheckpoint(memoryFiles("m", files));
      expect([...wrapped.tensors.keys()].sort()).toEqual([...plain.tensors.keys()].sort());
      for (const name of plain.tensors.keys())
        expect(await readWhole(wrapped, name)).toEqual(await readWhole(plain, name));
    },
  );
});

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

test("a LoRA of FunASR's without its base, given as a model", () => {
  const container = { name: "m", tensors: new Map([["llm.q.lora_A", { name: "llm.q.lora_A" }]]) } as never;
  expect(() => splitLora(container, ConfigReader.of({}, "m/config.yaml"))).toThrow(
    "m: model.pt: expected a model, got a LoRA alone, 1 tensors; give its base as the model, and this directory with --lora",
  );
});

// Plan: 10,000 lists of names out of parts of prefixes: what is cut off begins every name, and what is left begins with no wrapper in all.
test("10,000 lists of names", () => {
  const parts = ["_orig_mod.", "module.", "base_model.model.", "model.", "a", "", ".", "é"];
  let state = 1;
  const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;
  for (let i = 0; i < 10_000; i++) {
    const start = Array.from({ length: random(4) }, () => parts[random(8)]).join("");
    const names = Array.from({ length: random(4) }, () => start + parts[random(8)] + parts[random(8)]);
    const prefix = wrapperPrefix(names);
    expect(names.every((name) => name.startsWith(prefix))).toBe(true);
    if (prefix !== "") expect(wrapperPrefix(names.map((name) => name.slice(prefix.length)))).toBe("");
  }
});
