// Plan: model.pt from training: with wrapped names, with an untied head, and LoRAs with wrapped
// names. Each opens to the same checkpoint or LoRA as without.
import { describe, expect, test } from "vitest";
import { layoutFiles, readWhole } from "../../../test/helpers/layouts.js";
import { loraFixture } from "../../../test/helpers/lora.js";
import { torchFile } from "../../../test/helpers/torch-zip.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint.js";
import { openSafetensors, readTensor } from "../safetensors/safetensors.js";
import { type WriteTensor, safetensorsBytes } from "../safetensors/write.js";
import { type ModelFiles, bytesSource, memoryFiles, readRange } from "../source.js";
import { openTorchFile } from "../torch/torch-file.js";

type Tensors = (WriteTensor & { readonly data: Uint8Array })[];

async function tensorsOf(modelPt: Uint8Array): Promise<Tensors> {
  const source = bytesSource("model.pt", modelPt);
  const infos = [...(await openTorchFile(source)).values()];
  return Promise.all(
    infos.map(async (info) => ({
      name: info.name,
      dtype: info.dtype,
      shape: info.shape,
      data: (await readRange(source, info, 0, info.byteLength)).slice(),
    })),
  );
}

/** A directory with a changed model.pt. */
async function edited(
  files: Map<string, Uint8Array>,
  edit: (tensors: Tensors) => Tensors,
): Promise<ModelFiles> {
  const tensors = edit(await tensorsOf(files.get("model.pt")!));
  return memoryFiles("m", new Map([...files, ["model.pt", torchFile(tensors)]]));
}

const prefixed =
  (prefix: string) =>
  (tensors: Tensors): Tensors =>
    tensors.map((tensor) => ({ ...tensor, name: prefix + tensor.name }));

async function expectSame(got: Checkpoint, want: Checkpoint): Promise<void> {
  expect([...got.tensors.keys()].sort()).toEqual([...want.tensors.keys()].sort());
  for (const name of want.tensors.keys()) {
    const [a, b] = await Promise.all([readWhole(got, name), readWhole(want, name)]);
    expect(Buffer.from(a).equals(b), name).toBe(true);
  }
}

const PREFIXES = [
  "_orig_mod.",
  "module.",
  "base_model.model.",
  "module._orig_mod.",
  "base_model.model._orig_mod.",
];

describe.each(PREFIXES)("%s before every name", (prefix) => {
  const nano = (): Promise<Checkpoint> => openCheckpoint(memoryFiles("m", layoutFiles("nano")));

  test("of model.pt", async () => {
    const wrapped = await edited(layoutFiles("nano"), prefixed(prefix));
    await expectSame(await openCheckpoint(wrapped), await nano());
  });

  test("of model.pt with a LoRA in it, and of the LoRA beside its base", async () => {
    const tuned = new Map([...layoutFiles("nano"), ...loraFixture("funasr")]);
    const want = await openCheckpoint(memoryFiles("m", tuned));
    const wrapped = await edited(tuned, prefixed(prefix));
    await expectSame(await openCheckpoint(wrapped), want);
    const beside = await openCheckpoint(memoryFiles("m", layoutFiles("nano")), [wrapped]);
    await expectSame(beside, want);
    const name = "model.language_model.layers.1.self_attn.v_proj.weight";
    expect(await readWhole(beside, name)).not.toEqual(await readWhole(await nano(), name));
  });

  test("of a LoRA of peft", async () => {
    const files = loraFixture("rslora");
    const want = await openCheckpoint(memoryFiles("m", layoutFiles("hf")), [
      memoryFiles("l", new Map(files)),
    ]);
    const file = await openSafetensors(bytesSource("l", files.get("adapter_model.safetensors")!));
    const tensors = [...file.tensors.values()].map(({ name, dtype, shape }) => ({
      name: prefix + name,
      dtype,
      shape,
      data: () => readTensor(file, name),
    }));
    files.set("adapter_model.safetensors", await safetensorsBytes(tensors));
    await expectSame(
      await openCheckpoint(memoryFiles("m", layoutFiles("hf")), [memoryFiles("l", files)]),
      want,
    );
  });
});

// Plan: model.pt without a head, with a copy of the embedding, and with a head whose last bit
// differs, under FunASR's names.
describe("the head of model.pt", () => {
  const EMBEDDING = "llm.model.embed_tokens.weight";
  const HEAD = "llm.lm_head.weight";
  const withHead = (change?: (data: Uint8Array) => void): Promise<ModelFiles> =>
    edited(layoutFiles("nano"), (tensors) => {
      const others = tensors.filter(({ name }) => name !== HEAD);
      if (!change) return others;
      const embedding = others.find(({ name }) => name === EMBEDDING)!;
      const data = embedding.data.slice();
      change(data);
      return [...others, { ...embedding, name: HEAD, data }];
    });

  test.each<[string, ((data: Uint8Array) => void) | undefined, boolean, string[], RegExp[]]>([
    ["absent", undefined, true, [], []],
    ["the embedding once more", () => undefined, true, [HEAD], []],
    [
      "another",
      (data) => (data[data.length - 2] ^= 1),
      false,
      [],
      [/^llm\.lm_head\.weight differs from the embedding: it is used/],
    ],
  ])("%s", async (_, change, tied, ignored, warnings) => {
    const checkpoint = await openCheckpoint(await withHead(change));
    expect(checkpoint.config.llm.tiedHead).toBe(tied);
    expect(checkpoint.tensors.has("lm_head.weight")).toBe(!tied);
    expect(checkpoint.ignored.map(({ sourceName }) => sourceName)).toEqual(ignored);
    expect(checkpoint.warnings).toEqual(warnings.map((warning) => expect.stringMatching(warning) as string));
  });
});
