// Plan: in every layout the stored values decide whether the head is the embedding, whatever the
// config says. Another head is reported, and the model and converted checkpoints have it.
import { describe, expect, test } from "vitest";
import { refusal } from "../../test/helpers/checkpoint.js";
import { layoutFiles, readWhole } from "../../test/helpers/layouts.js";
import { tinyFiles } from "../../test/helpers/tiny-model.js";
import { funasrTemplate } from "../tokenizer/funasr-template.js";
import { openCheckpoint } from "./checkpoint.js";
import { type FloatDtype, fromFloat32, toFloat32 } from "../formats/dtypes.js";
import { transformersFiles } from "./convert.js";
import { openLlm } from "./migrate/open-llm.js";
import { openSafetensors, readTensor } from "./safetensors/safetensors.js";
import { safetensorsBytes } from "./safetensors/write.js";
import { type ModelFiles, bytesSource, memoryFiles } from "./source.js";

const HEAD = "lm_head.weight";
const EMBEDDING = "model.language_model.embed_tokens.weight";
const warning =
  "lm_head.weight differs from the embedding: it is used as the head, though the config says tie_word_embeddings true";

type Edit = (embedding: Uint8Array) => Uint8Array<ArrayBuffer> | undefined;
const changed: Edit = (bytes) => {
  const copy = new Uint8Array(bytes);
  copy[copy.length - 2] ^= 1; // the lowest bit of the last value
  return copy;
};
const copied: Edit = (bytes) => new Uint8Array(bytes);
const absent: Edit = () => undefined;

/** The files, with a head in model.safetensors that `edit` makes from the embedding. */
async function withHead(
  files: Map<string, Uint8Array>,
  edit: Edit,
  dtype?: FloatDtype,
): Promise<Map<string, Uint8Array>> {
  const file = await openSafetensors(bytesSource("m", files.get("model.safetensors")!));
  const stored = [...file.tensors.values()].map(async ({ name, dtype, shape }) => {
    const bytes = (await readTensor(file, name)).slice();
    return { name, dtype, shape, data: bytes };
  });
  const tensors = (await Promise.all(stored)).filter(({ name }) => !name.endsWith("lm_head.weight"));
  const embedding = tensors.find(({ name }) => name.endsWith("embed_tokens.weight"))!;
  const data = edit(embedding.data);
  const name = embedding.name.startsWith("llm.") ? "llm.lm_head.weight" : HEAD;
  if (data) tensors.push({ ...embedding, name, data, dtype: dtype ?? embedding.dtype });
  return new Map([...files, ["model.safetensors", await safetensorsBytes(tensors)]]);
}

const tiny = async (tied: boolean, edit: Edit): Promise<ModelFiles> =>
  memoryFiles("tiny", await withHead(await tinyFiles({ seed: 3, tied }), edit));

/** How a checkpoint opens with regard to its head. */
async function headOf(
  files: ModelFiles,
): Promise<{ tied: boolean; ignored: string[]; warnings: readonly string[] }> {
  const checkpoint = await openCheckpoint(files);
  const { config, tensors, ignored, warnings } = checkpoint;
  expect(tensors.has(HEAD)).toBe(!config.llm.tiedHead);
  await checkpoint.close();
  return { tied: config.llm.tiedHead, ignored: ignored.map(({ sourceName }) => sourceName), warnings };
}

describe("transformers", () => {
  test.each([
    ["tied, no head", true, absent, { tied: true, ignored: [], warnings: [] }],
    ["tied, a copy of the embedding", true, copied, { tied: true, ignored: [HEAD], warnings: [] }],
    ["tied, another head", true, changed, { tied: false, ignored: [], warnings: [warning] }],
    ["untied, another head", false, changed, { tied: false, ignored: [], warnings: [] }],
    ["untied, a copy of the embedding", false, copied, { tied: true, ignored: [HEAD], warnings: [] }],
  ])("%s", async (_, tied, edit, expected) => {
    expect(await headOf(await tiny(tied, edit))).toEqual(expected);
  });

  test("an untied config without a head is refused", async () => {
    const { message } = await refusal(async () => openCheckpoint(await tiny(false, absent)));
    expect(message).toContain('tensor "lm_head.weight": expected a tensor of that name, got none');
  });
});

// Plan: head and embedding in different types. If the last value differs in its lowest bit, it is
// another head.
describe("two types", () => {
  const stored = async (dtype: FloatDtype, head: FloatDtype, edit = copied): Promise<ModelFiles> => {
    const files = await tinyFiles({ seed: 3, tied: true });
    const original = await openSafetensors(bytesSource("m", files.get("model.safetensors")!));
    const converted = [...original.tensors.values()].map(async ({ name, shape, dtype: from }) => {
      const values = toFloat32(await readTensor(original, name), from);
      return { name, shape, dtype, data: fromFloat32(toFloat32(fromFloat32(values, "BF16"), "BF16"), dtype) };
    });
    files.set("model.safetensors", await safetensorsBytes(await Promise.all(converted)));
    const widen: Edit = (bytes) => edit(fromFloat32(toFloat32(bytes, dtype), head));
    return memoryFiles("tiny", await withHead(files, widen, head));
  };

  test.each<[FloatDtype, FloatDtype]>([
    ["BF16", "F32"],
    ["F32", "BF16"],
    ["F16", "F32"],
    ["F32", "F16"],
    ["BF16", "F16"],
    ["BF16", "BF16"],
  ])("an embedding in %s, a head in %s", async (dtype, head) => {
    expect(await headOf(await stored(dtype, head))).toEqual({ tied: true, ignored: [HEAD], warnings: [] });
    const other = await headOf(await stored(dtype, head, changed));
    expect(other).toEqual({ tied: false, ignored: [], warnings: [warning] });
  });
});

test("the MLX layout: the bytes decide", async () => {
  const mlx = async (edit: Edit): Promise<ModelFiles> =>
    memoryFiles("mlx", await withHead(layoutFiles("mlx"), edit));
  expect(await headOf(await mlx(absent))).toMatchObject({ tied: true, ignored: [] });
  expect(await headOf(await mlx(copied))).toMatchObject({ tied: true, ignored: ["llm.lm_head.weight"] });
  expect(await headOf(await mlx(changed))).toMatchObject({ tied: false, ignored: [] });
});

test("openLlm keeps the head and the warning", async () => {
  const llm = await openLlm(await tiny(true, changed));
  expect([...llm.tensors.keys()]).toContain(HEAD);
  expect(llm.config.llm.tiedHead).toBe(false);
  expect(llm.warnings).toEqual([warning]);
});

test("a converted checkpoint has the head, and an untied config", async () => {
  const source = await openCheckpoint(await tiny(true, changed));
  const written = new Map<string, Uint8Array>();
  for (const { name, pieces } of await transformersFiles(source, { template: funasrTemplate })) {
    const parts: Uint8Array[] = [];
    for await (const piece of pieces()) parts.push(piece.slice());
    written.set(name, new Uint8Array(Buffer.concat(parts)));
  }
  expect(await headOf(memoryFiles("converted", written))).toEqual({ tied: false, ignored: [], warnings: [] });
  const converted = await openCheckpoint(memoryFiles("converted", written));
  expect(await readWhole(converted, HEAD)).toEqual(await readWhole(source, HEAD));
  expect(await readWhole(converted, EMBEDDING)).toEqual(await readWhole(source, EMBEDDING));
});
