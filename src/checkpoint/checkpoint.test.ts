import { describe, expect, test } from "vitest";
import {
  counted,
  fixtureFiles,
  fixturePath,
  rawSafetensors,
  refusal,
  utf8,
} from "../../test/helpers/checkpoint.js";
import { modelDirectory } from "../node/files.js";
import { openCheckpoint } from "./checkpoint.js";
import { toFloat32 } from "../formats/dtypes.js";
import { CheckpointError } from "../formats/errors.js";
import { openSafetensors, readTensor } from "./safetensors/safetensors.js";
import { safetensorsBytes } from "./safetensors/write.js";
import type { WriteTensor } from "./safetensors/write.js";
import { bytesSource, memoryFiles } from "./source.js";
import type { ModelFiles } from "./source.js";

// Plan: checkpoints of transformers' save_pretrained open. Damaged in one way each, they are
// refused by name.

const INDEX = "model.safetensors.index.json";
const SHARD = (n: number): string => `model-0000${n}-of-00003.safetensors`;

function stateDict(files: ReadonlyMap<string, Uint8Array>): Record<string, number[]> {
  return JSON.parse(new TextDecoder().decode(files.get("state_dict.json"))) as Record<string, number[]>;
}

describe.each([
  { name: "tiny", tied: true, dtype: "BF16", bytes: 2 },
  { name: "tiny-sharded", tied: false, dtype: "F32", bytes: 4 },
])("$name, written by transformers 5.23", ({ name, tied, dtype, bytes }) => {
  const shapes = stateDict(fixtureFiles(name));
  const parameters = Object.values(shapes).reduce((sum, s) => sum + s.reduce((a, b) => a * b, 1), 0);

  test("every parameter of the class, under its name", async () => {
    const checkpoint = await openCheckpoint(modelDirectory(fixturePath(name)));
    const got = Object.fromEntries([...checkpoint.tensors.values()].map((t) => [t.name, [...t.shape]]));
    expect(got).toEqual(shapes);
    expect([...checkpoint.tensors.values()].every((t) => t.name === t.sourceName && t.dtype === dtype)).toBe(
      true,
    );
    expect(checkpoint.config.llm.tiedHead).toBe(tied);
    expect(checkpoint.parameterCount).toBe(parameters);
    expect(checkpoint.totalBytes).toBe(parameters * bytes);
    expect(checkpoint.metadata).toEqual(new Map([["format", "pt"]]));
    expect(checkpoint.ignored).toEqual([]);
    await checkpoint.close();
  });

  test("bytes, whole and in pieces, from disk and from memory", async () => {
    const disk = await openCheckpoint(modelDirectory(fixturePath(name)));
    const memory = await openCheckpoint(memoryFiles(name, fixtureFiles(name)));
    for (const entry of disk.tensors.values()) {
      const whole = await disk.read(entry, 0, entry.byteLength);
      expect(await memory.read(memory.tensors.get(entry.name)!, 0, entry.byteLength)).toEqual(whole);
      expect(await disk.read(entry, 2, entry.byteLength - 2)).toEqual(whole.subarray(2));
    }
    await disk.close();
  });
});

test("the last layer norms of the tiny model are ones and zeros, as torch initialises them", async () => {
  const c = await openCheckpoint(memoryFiles("m", fixtureFiles("tiny")));
  for (const layer of [2, 4]) {
    const read = async (end: string): Promise<number[]> => {
      const entry = c.tensors.get(`model.audio_tower.layers.${layer}.final_layernorm.${end}`)!;
      return [...toFloat32(await c.read(entry, 0, entry.byteLength), entry.dtype)];
    };
    expect(await read("weight")).toEqual(new Array(8).fill(1));
    expect(await read("bias")).toEqual(new Array(8).fill(0));
  }
});

test("reads outside a tensor, or of another checkpoint's tensor, are refused", async () => {
  const c = await openCheckpoint(memoryFiles("m", fixtureFiles("tiny")));
  const entry = c.tensors.get("model.language_model.norm.weight")!;
  expect((await refusal(() => c.read(entry, 0, 33))).message).toBe(
    'm/model.safetensors: tensor "model.language_model.norm.weight": expected a range inside its 32 bytes, got 33 bytes at 0',
  );
  expect((await refusal(() => c.read({ ...entry, file: "b" }, 0, 1))).got).toBe("another's");
});

/** A fixture in memory, to be damaged. */
class Damaged {
  readonly files: Map<string, Uint8Array>;

  constructor(fixture: string) {
    this.files = fixtureFiles(fixture);
  }

  editJson(name: string, edit: (json: Record<string, unknown>) => unknown): void {
    const json = JSON.parse(new TextDecoder().decode(this.files.get(name))) as Record<string, unknown>;
    this.files.set(name, utf8(JSON.stringify(edit(json) ?? json)));
  }

  /** Rewrites a weights file. */
  async rewrite(name: string, edit: (tensors: WriteTensor[]) => WriteTensor[]): Promise<void> {
    const file = await openSafetensors(bytesSource(name, this.files.get(name)!));
    const tensors: WriteTensor[] = [];
    for (const t of file.tensors.values()) tensors.push({ ...t, data: await readTensor(file, t.name) });
    this.files.set(name, await safetensorsBytes(edit(tensors), file.metadata));
  }

  /** The model directory "m". */
  directory(): ModelFiles {
    return memoryFiles("m", this.files);
  }

  /** The error for the directory; no file stays open. */
  async refused(): Promise<string> {
    const { files, open } = counted(this.directory());
    const { message } = await refusal(() => openCheckpoint(files));
    expect(open()).toBe(0);
    return message;
  }
}

const HEAD = (name: string): WriteTensor => ({
  name,
  dtype: "BF16",
  shape: [24, 16],
  data: new Uint8Array(24 * 32),
});

describe("a model directory with an error", () => {
  test("no such directory", async () => {
    expect((await refusal(() => openCheckpoint(modelDirectory("/no/such/model")))).message).toBe(
      "/no/such/model: directory: expected a model directory, got none; check the path",
    );
  });

  test("no config, a config that is not JSON, the config of another model", async () => {
    const d = new Damaged("tiny");
    d.editJson("config.json", (c) => ({ ...c, model_type: "whisper" }));
    expect(await d.refused()).toBe(
      'm/config.json: model_type: expected "fun_asr_nano", got "whisper"; nothing else is implemented',
    );
    d.files.set("config.json", utf8("{"));
    expect(await d.refused()).toContain("m/config.json: content at character 1: expected a name in quotes");
    d.files.set("config.json", new Uint8Array(2_000_000));
    expect(await d.refused()).toContain(
      "m/config.json: size: expected at most 1000000 bytes, got 2000000 bytes",
    );
    d.files.delete("config.json");
    expect(await d.refused()).toContain("m: config.json: expected a file of that name, got none");
  });

  test("no weights, or weights in two forms", async () => {
    const d = new Damaged("tiny");
    d.files.delete("model.safetensors");
    expect(await d.refused()).toContain(
      "m: model.safetensors or model.safetensors.index.json: expected a file of that name, got none",
    );
    const mixed = new Damaged("tiny");
    mixed.files.set("model.pt", new Uint8Array(4));
    expect(await mixed.refused()).toBe(
      "m: weights: expected one form of them, got model.safetensors beside model.pt; two checkpoints were mixed: move one away",
    );
  });

  test("weights cut short", async () => {
    const d = new Damaged("tiny");
    d.files.set("model.safetensors", d.files.get("model.safetensors")!.slice(0, -1));
    expect(await d.refused()).toMatch(
      /^m\/model.safetensors: tensor ".*" data_offsets: expected an end inside .* download it again$/,
    );
  });

  test("a missing tensor", async () => {
    const d = new Damaged("tiny");
    await d.rewrite("model.safetensors", (t) =>
      t.filter(({ name }) => !name.endsWith("layers.1.mlp.fc1.bias")),
    );
    expect(await d.refused()).toBe(
      'm: tensor "model.audio_tower.layers.1.mlp.fc1.bias": expected a tensor of that name, got none ' +
        "(2 missing, 0 left over, 0 of another shape, 147 in the file); do config.json and the weights belong together?",
    );
  });

  test("a left-over tensor", async () => {
    const d = new Damaged("tiny");
    await d.rewrite("model.safetensors", (t) => [...t, HEAD("ctc.weight")]);
    expect(await d.refused()).toBe(
      'm: tensor "ctc.weight": expected only tensors that the config asks for, got a left-over one ' +
        "(0 missing, 1 left over, 0 of another shape, 150 in the file); do config.json and the weights belong together?",
    );
  });

  test("sizes in the config that do not match the tensors", async () => {
    const d = new Damaged("tiny");
    d.editJson("config.json", (c) => ({
      ...c,
      text_config: { ...(c["text_config"] as object), vocab_size: 28 },
    }));
    expect(await d.refused()).toBe(
      'm: tensor "model.language_model.embed_tokens.weight": expected [28, 16], got [24, 16] ' +
        "(0 missing, 0 left over, 1 of another shape, 149 in the file); do config.json and the weights belong together?",
    );
  });

  test.each([
    ["I16", 32],
    ["F64", 128],
  ] as const)("a tensor of %s", async (dtype, bytes) => {
    const d = new Damaged("tiny");
    const name = "model.language_model.norm.weight";
    await d.rewrite("model.safetensors", (t) =>
      t.map((x) => (x.name === name ? { ...x, dtype, data: new Uint8Array(bytes) } : x)),
    );
    expect(await d.refused()).toContain(`m: tensor "${name}": expected F32, F16 or BF16, got ${dtype}`);
  });

  test("an untied head is required", async () => {
    const d = new Damaged("tiny");
    d.editJson("config.json", (c) => ({ ...c, tie_word_embeddings: false }));
    expect(await d.refused()).toContain(
      'm: tensor "lm_head.weight": expected a tensor of that name, got none (1 missing',
    );
  });
});

describe("a sharded model with an error", () => {
  const weightMap = (d: Damaged, edit: (map: Record<string, unknown>) => void): void =>
    d.editJson(INDEX, (json) => {
      edit(json["weight_map"] as Record<string, unknown>);
    });

  test("a missing shard", async () => {
    const d = new Damaged("tiny-sharded");
    d.files.delete(SHARD(2));
    expect(await d.refused()).toBe(
      `m: ${SHARD(2)}: expected the shard that ${INDEX} names, got no such file; download it again: the model has 3 shards`,
    );
  });

  test("the only shard is missing", async () => {
    const d = new Damaged("tiny-sharded");
    weightMap(d, (map) => {
      for (const tensor of Object.keys(map)) map[tensor] = SHARD(2);
    });
    d.files.delete(SHARD(2));
    expect(await d.refused()).toMatch(/; download it again: the model has 1 shard$/);
  });

  test("a shard cut short, and an empty one", async () => {
    const d = new Damaged("tiny-sharded");
    d.files.set(SHARD(2), d.files.get(SHARD(2))!.slice(0, -100));
    expect(await d.refused()).toMatch(
      /^m\/model-00002-of-00003.safetensors: tensor ".*" data_offsets: expected an end inside/,
    );
    d.files.set(SHARD(2), new Uint8Array(0));
    expect(await d.refused()).toContain(`m/${SHARD(2)}: size: expected at least 8 bytes, got 0 bytes`);
  });

  test("a tensor listed in the index but absent from its shard", async () => {
    const d = new Damaged("tiny-sharded");
    await d.rewrite(SHARD(2), (t) =>
      t.filter(({ name }) => name !== "model.multi_modal_projector.linear_1.bias"),
    );
    expect(await d.refused()).toBe(
      `m/${SHARD(2)}: tensor "model.multi_modal_projector.linear_1.bias": expected it in this shard, as ${INDEX} says, got no such tensor`,
    );
  });

  test("a tensor in a shard but not in the index", async () => {
    const d = new Damaged("tiny-sharded");
    weightMap(d, (map) => delete map["model.multi_modal_projector.linear_1.bias"]);
    expect(await d.refused()).toBe(
      `m/${SHARD(2)}: tensor "model.multi_modal_projector.linear_1.bias": expected only tensors that ${INDEX} lists, got it in this shard`,
    );
  });

  test("a tensor in another shard than the index says, or in two", async () => {
    const d = new Damaged("tiny-sharded");
    weightMap(d, (map) => (map["model.multi_modal_projector.linear_1.bias"] = SHARD(1)));
    const line = `m/${SHARD(2)}: tensor "model.multi_modal_projector.linear_1.bias": expected it in ${SHARD(1)}, as ${INDEX} says, got it in this shard`;
    expect(await d.refused()).toBe(line);
    const twice = new Damaged("tiny-sharded");
    await twice.rewrite(SHARD(1), (t) => [...t, HEAD("lm_head.weight")]);
    expect(await twice.refused()).toMatch(/tensor "lm_head.weight": expected it in model-0000\d-of/);
  });

  test.each(["../x.safetensors", "a/b.safetensors", "a\\b", "C:x", "..", ".", "", "a\0", 7, null])(
    "shard name %j",
    async (shard) => {
      const d = new Damaged("tiny-sharded");
      weightMap(d, (map) => (map["lm_head.weight"] = shard));
      expect(await d.refused()).toBe(
        `m/${INDEX}: weight_map "lm_head.weight": expected a file name without path separators, got ${JSON.stringify(shard)}`,
      );
    },
  );

  test("an index without a weight map, with a tensor twice, or that is not JSON", async () => {
    const d = new Damaged("tiny-sharded");
    for (const [text, got] of [
      ["{}", "nothing"],
      ['{"weight_map":{}}', "an object"],
      ['{"weight_map":[]}', "[]"],
    ]) {
      d.files.set(INDEX, utf8(text));
      expect(await d.refused()).toBe(
        `m/${INDEX}: weight_map: expected tensor names with their shards, got ${got}`,
      );
    }
    d.files.set(INDEX, utf8(`{"weight_map":{"a":"${SHARD(1)}","a":"${SHARD(2)}"}}`));
    expect(await d.refused()).toBe(`m/${INDEX}: content: expected every name once, got "a" twice`);
    d.files.set(INDEX, utf8("<html>"));
    expect(await d.refused()).toContain(`m/${INDEX}: content at character 0: expected a value, got "<"`);
  });

  test("an index beside the single file is ignored, as in transformers", async () => {
    const d = new Damaged("tiny");
    d.files.set(INDEX, utf8("<html>"));
    await (await openCheckpoint(d.directory())).close();
  });
});

test("the error for a hostile weights file names the file", async () => {
  const d = new Damaged("tiny");
  d.files.set("model.safetensors", rawSafetensors({}, 0, 10n ** 15n));
  expect(await d.refused()).toContain("m/model.safetensors: header length: expected at most 100000000 bytes");
  await expect(openCheckpoint(d.directory())).rejects.toBeInstanceOf(CheckpointError);
});
