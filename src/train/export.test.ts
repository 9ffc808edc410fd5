import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { tinyFiles, writeDirectory } from "../../test/helpers/tiny-model.js";
import { useGpu, values } from "../../test/gpu.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { fromFloat32, toFloat32 } from "../formats/dtypes.js";
import { baseSha256 } from "../checkpoint/lora/base-hash.js";
import { openSafetensors, readTensor } from "../checkpoint/safetensors/safetensors.js";
import { modelDirectory, openFile, writeDirectoryAtomic } from "../node/files.js";
import { modelFiles } from "../node/model-files.js";
import { loadFunAsrNano } from "../model/fun-asr-nano.js";
import { elementCount } from "../shape.js";
import { type TrainedValues, adaptedWeights, adapterFiles, trainedFiles } from "./export.js";
import { answerLosses } from "./forward.js";
import { type LoraShape } from "./export.js";
import { withLora } from "./lora.js";

// The written checkpoint opens. Frozen tensors keep their bits; trained ones are rounded once, in
// either type. A merged LoRA gives the losses of the unmerged one, and the bits of the adapter file
// merged on reading. The adapter file has peft's names. A parameter of another model is refused.
const gpu = useGpu();
let out = "";
let model: { path: string; remove: () => void };
beforeEach(async () => {
  out = mkdtempSync(join(tmpdir(), "funasr-webgpu-"));
  model = writeDirectory(await tinyFiles());
});
afterEach(() => {
  rmSync(out, { recursive: true, force: true });
  model.remove();
});

async function withCheckpoint<T>(path: string, use: (checkpoint: Checkpoint) => Promise<T>): Promise<T> {
  const checkpoint = await openCheckpoint(modelFiles(path));
  try {
    return await use(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

/** Seeded values of those parameters, as a saved state has them. */
function trainedValues(shapes: ReadonlyMap<string, readonly number[]>): Map<string, TrainedValues> {
  return new Map(
    [...shapes].map(([name, shape], i) => {
      const data = values(elementCount(shape), i + 1);
      return [name, { shape, values: new Uint8Array(data.buffer) }];
    }),
  );
}

const bytesOf = (checkpoint: Checkpoint, name: string): Promise<Uint8Array> => {
  const entry = checkpoint.tensors.get(name)!;
  return checkpoint.read(entry, 0, entry.byteLength);
};

describe.each([undefined, "BF16", "F32"] as const)("trained tensors as %s", (dtype) => {
  test("every other tensor keeps its bits", async () => {
    await withCheckpoint(model.path, async (before) => {
      const shapes = [...before.tensors.values()].filter(({ name }) =>
        name.startsWith("model.multi_modal_projector."),
      );
      const trained = trainedValues(new Map(shapes.map(({ name, shape }) => [name, shape])));
      const target = join(out, "checkpoint");
      await writeDirectoryAtomic(target, await trainedFiles(before, trained, { dtype }));
      await withCheckpoint(target, async (after) => {
        expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
        for (const name of before.tensors.keys()) {
          const value = trained.get(name)?.values;
          const to = dtype ?? "BF16";
          const want = value ? fromFloat32(toFloat32(value, "F32"), to) : await bytesOf(before, name);
          expect(Buffer.from(await bytesOf(after, name)).equals(want), name).toBe(true);
          expect(after.tensors.get(name)!.dtype).toBe(value ? to : before.tensors.get(name)!.dtype);
        }
      });
    });
  });
});

/** Each projection by itself. */
const apart = { tune: () => false };
const lora: LoraShape = { rank: 3, alpha: 12, dropout: 0, targets: ["q_proj", "v_proj"] };

/** Values of a LoRA on the tiny model, none of them zero but those that fill the rank up. */
async function loraValues(shape = lora): Promise<Map<string, TrainedValues>> {
  return withCheckpoint(model.path, async (checkpoint) => {
    const loaded = await loadFunAsrNano(gpu(), checkpoint.config, checkpoint, apart);
    const changed = withLora(gpu(), loaded, shape as Parameters<typeof withLora>[2]);
    const trained = trainedValues(new Map(changed.trainables.map(({ name, value }) => [name, value.shape])));
    changed.free();
    for (const [name, { shape: sides, values }] of trained) {
      const floats = new Float32Array(values.buffer as ArrayBuffer);
      const columns = sides[1];
      const unused = (i: number): boolean =>
        (name.includes("lora_A") ? Math.floor(i / columns) : i % columns) >= shape.rank;
      for (const i of floats.keys()) if (unused(i)) floats[i] = 0;
    }
    return trained;
  });
}

const batch = {
  audio: { states: values(9 * 32, 1) },
  frames: [9],
  prompts: [{ ids: [5, 6, ...Array<number>(9).fill(1035), 7], audioOffset: 2, audioLength: 9 }],
  answers: [[8, 9, 10, 11]],
};

test("a merged LoRA gives the losses of the one beside the weights", async () => {
  const trained = await loraValues();
  const target = join(out, "merged");
  await withCheckpoint(model.path, async (checkpoint) => {
    const base = await loadFunAsrNano(gpu(), checkpoint.config, checkpoint, { ...apart, weights: "f32" });
    const [without] = await gpu().step(() => [answerLosses(gpu(), base, batch)]);
    const beside = withLora(gpu(), base, lora as Parameters<typeof withLora>[2]);
    for (const { name, value } of beside.trainables)
      gpu().write(value, trained.get(name)!.values as Uint8Array<ArrayBuffer>);
    const [want] = await gpu().step(() => [answerLosses(gpu(), beside, batch)]);
    beside.free();
    await writeDirectoryAtomic(
      target,
      await trainedFiles(checkpoint, trained, { dtype: "F32", merge: lora }),
    );
    await withCheckpoint(target, async (merged) => {
      expect(merged.tensors.size).toBe(checkpoint.tensors.size);
      const whole = await loadFunAsrNano(gpu(), merged.config, merged);
      const [got] = await gpu().step(() => [answerLosses(gpu(), whole, batch)]);
      whole.free();
      for (const [i, loss] of want.entries()) {
        expect(Math.abs(got[i] / loss - 1)).toBeLessThan(1e-5);
        expect(Math.abs(without[i] / loss - 1)).toBeGreaterThan(1e-3); // the LoRA does something
      }
    });
  });
});

describe.each([1, 3, 4, 5])("a LoRA of rank %i", (rank) => {
  test.each([undefined, "BF16", "F32"] as const)(
    "gives the same bits merged (%s) and beside",
    async (dtype) => {
      const shape = { ...lora, rank };
      const trained = await loraValues(shape);
      const bias = "model.multi_modal_projector.linear_1.bias";
      trained.set(bias, trainedValues(new Map([[bias, [40]]])).get(bias)!);
      await withCheckpoint(model.path, async (checkpoint) => {
        await writeDirectoryAtomic(
          join(out, "merged"),
          await trainedFiles(checkpoint, trained, { dtype, merge: shape }),
        );
        const bases = adaptedWeights(trained.keys()).map((name) => checkpoint.tensors.get(name)!);
        const sha256 = await baseSha256(checkpoint, bases);
        const about = { base: "base", baseSha256: sha256, dtype };
        await writeDirectoryAtomic(join(out, "lora"), adapterFiles(trained, shape, about));
      });
      const beside = await openCheckpoint(modelFiles(model.path), [modelDirectory(join(out, "lora"))]);
      await withCheckpoint(join(out, "merged"), async (merged) => {
        for (const name of merged.tensors.keys()) {
          expect(merged.tensors.get(name)!.dtype).toBe(beside.tensors.get(name)!.dtype);
          expect(Buffer.from(await bytesOf(merged, name)).equals(await bytesOf(beside, name)), name).toBe(
            true,
          );
        }
      });
      await beside.close();
      const other = writeDirectory(await tinyFiles({ seed: 2 }));
      await expect(
        openCheckpoint(modelFiles(other.path), [modelDirectory(join(out, "lora"))]),
      ).rejects.toThrow(
        /lora: base_sha256: expected the weights that it was trained on, \w{12}, got \w{12}; was it trained on another model\?$/,
      );
      other.remove();
    },
  );
});

test("the adapter has peft's names and config", async () => {
  const trained = await loraValues();
  const target = join(out, "lora");
  await writeDirectoryAtomic(target, adapterFiles(trained, lora, { base: "base" }));
  const source = await openFile(join(target, "adapter_model.safetensors"));
  const file = await openSafetensors(source);
  expect(file.tensors.size).toBe(2 * 2 * 3); // A and B, two targets, three layers
  const name = "model.language_model.layers.1.self_attn.v_proj.lora_B.weight";
  const bytes = await readTensor(file, `base_model.model.${name}`);
  const padded = new Float32Array(trained.get(name)!.values.buffer as ArrayBuffer); // [48, 4]
  expect(file.tensors.get(`base_model.model.${name}`)!.shape).toEqual([48, 3]);
  expect([...new Float32Array(bytes.slice().buffer)]).toEqual([...padded.filter((_, i) => i % 4 < 3)]);
  await source.close();
});

test("values of another shape are refused, of a parameter and of a LoRA", async () => {
  const name = "model.multi_modal_projector.linear_1.bias";
  const target = join(out, "refused");
  await withCheckpoint(model.path, async (checkpoint) => {
    await expect(trainedFiles(checkpoint, trainedValues(new Map([[name, [3]]])))).rejects.toThrow(
      new RegExp(`: expected ${name} to be \\[3\\] as it was trained, got \\[\\d+\\]; was it trained`),
    );
    const trained = await loraValues();
    const factor = "model.language_model.layers.1.self_attn.v_proj.lora_B.weight";
    trained.set(factor, { shape: [3, 4], values: new Uint8Array(48) });
    const files = await trainedFiles(checkpoint, trained, { merge: lora });
    await expect(writeDirectoryAtomic(target, files)).rejects.toThrow(
      new RegExp(`: expected ${factor} of \\[\\d+, 4\\], got \\[3, 4\\]; was it trained on another model`),
    );
  });
});

test("a parameter that the model does not have is refused", async () => {
  await withCheckpoint(model.path, async (checkpoint) => {
    await expect(trainedFiles(checkpoint, trainedValues(new Map([["other.weight", [2]]])))).rejects.toThrow(
      /: expected a tensor other\.weight, got none; was it trained on another model\?$/,
    );
  });
});
