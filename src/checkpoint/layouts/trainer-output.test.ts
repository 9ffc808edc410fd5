import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { refusal, utf8 } from "../../../test/helpers/checkpoint.js";
import { layoutBytes, layoutFiles, layoutPath, readWhole } from "../../../test/helpers/layouts.js";
import { concat, global, storedZip } from "../../../test/helpers/torch-zip.js";
import { modelFiles, withBase } from "../../node/model-files.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint.js";
import { bytesSource, filesOverBase, memoryFiles } from "../source.js";
import { openTorchFile } from "../torch/torch-file.js";
import { type TorchTensor, writeTorchFile } from "../torch/write.js";
import { openZip } from "../torch/zip.js";

// Plan: what FunASR's trainer writes opens to the model's tensors: any wrapper around the state
// dict, any prefix of names, optimiser and scheduler beside it, which are not executed; a file or a
// directory of DeepSpeed's under any name. What it leaves out comes from the base, or one line says
// so.

const open = openCheckpoint;
const state = new Map<string, TorchTensor>();
let original: Checkpoint;
const root = mkdtempSync(join(tmpdir(), "funasr-trained-"));

beforeAll(async () => {
  original = await openCheckpoint(memoryFiles("nano", layoutFiles("nano")));
  const bytes = layoutBytes("nano/model.pt");
  for (const { name, dtype, shape, offset, byteLength } of (
    await openTorchFile(bytesSource("x", bytes))
  ).values())
    state.set(name, { name, dtype, shape, data: bytes.slice(offset, offset + byteLength) });
});

afterAll(() => rmSync(root, { recursive: true }));

const text = (value: string): Uint8Array => concat([0x58, value.length, 0, 0, 0], utf8(value));

/** A scheduler's object by NEWOBJ and BUILD, with what would run a function of another module. */
const scheduler = concat(
  ...[global("torch.optim.lr_scheduler", "LambdaLR"), [0x29, 0x81, 0x7d, 0x28]],
  ...[text("step"), global("numpy.core.multiarray", "scalar"), [0x43, 3, 1, 2, 3, 0x85, 0x52]],
  ...[text("anneal"), global("builtins", "getattr"), [0x4e], text("run"), [0x86, 0x52, 0x75, 0x62]],
);

/** A file of torch.save: `wrap` makes its pickle of the state dict's. */
async function file(
  tensors: Iterable<TorchTensor>,
  wrap: (dict: Uint8Array) => Uint8Array = (dict) => dict,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of writeTorchFile([...tensors])) parts.push(piece.slice());
  const bytes = concat(...parts);
  const entries = [...(await openZip(bytesSource("x", bytes))).values()].map(
    ({ name, offset, byteLength }) => [name, bytes.subarray(offset, offset + byteLength)] as const,
  );
  return storedZip(
    entries.map(([name, data]) => {
      if (!name.endsWith("data.pkl")) return [name, data];
      return [name, concat([0x80, 2], wrap(data.subarray(2, -1)), [0x2e])];
    }),
  );
}

const item = (key: string, value: Uint8Array): Uint8Array => concat(text(key), value);
const dict = (...items: readonly Uint8Array[]): Uint8Array => concat([0x7d, 0x28], ...items, [0x75]);
const none = Uint8Array.of(0x4e);
const epoch = item("epoch", Uint8Array.of(0x4b, 3));
const optimizer = item("optimizer", dict(item("state", dict()), item("param_groups", Uint8Array.of(0x5d))));

const renamed = (rename: (name: string) => string): TorchTensor[] =>
  [...state.values()].map((tensor) => ({ ...tensor, name: rename(tensor.name) }));

async function expectOriginal(bytes: Uint8Array): Promise<void> {
  const found = await open(memoryFiles("exp", layoutFiles("nano").set("model.pt", bytes)));
  expect([...found.tensors.keys()].sort()).toEqual([...original.tensors.keys()].sort());
  for (const key of original.tensors.keys())
    expect(await readWhole(found, key), key).toEqual(await readWhole(original, key));
}

describe("wrappers", () => {
  test.each<[string, (d: Uint8Array) => Uint8Array]>([
    ["none", (d) => d],
    [
      "state_dict, with optimiser and scheduler",
      (d) => dict(epoch, item("state_dict", d), optimizer, item("scheduler", scheduler)),
    ],
    ["the scheduler before it", (d) => dict(item("scheduler", scheduler), item("state_dict", d))],
    ["model_state_dict", (d) => dict(optimizer, item("model_state_dict", d))],
    ["model", (d) => dict(item("model", d), epoch)],
    ["module, of DeepSpeed", (d) => dict(item("module", d), item("optimizer", none))],
    ["a key of another program", (d) => dict(epoch, item("net", d), optimizer)],
    ["model in state_dict", (d) => dict(item("state_dict", dict(epoch, item("model", d))))],
    [
      "five deep",
      (d) =>
        ["model", "state_dict", "model", "model_state_dict", "state_dict"].reduce(
          (inner, key) => dict(epoch, item(key, inner)),
          d,
        ),
    ],
    ["state_dict before model", (d) => dict(item("model", dict(epoch)), item("state_dict", d))],
  ])("%s", async (_, wrap) => {
    await expectOriginal(await file(state.values(), wrap));
  });
});

describe("names", () => {
  test.each<[string, (name: string) => string]>([
    ["module.", (n) => `module.${n}`],
    ["module.module.", (n) => `module.module.${n}`],
    ["_orig_mod. of torch.compile", (n) => `_orig_mod.${n}`],
    ["module._orig_mod.", (n) => `module._orig_mod.${n}`],
    [
      "_fsdp_wrapped_module. at the start and inside",
      (n) => `_fsdp_wrapped_module.${n.replace("self_attn.", "_fsdp_wrapped_module.self_attn.")}`,
    ],
    ["_forward_module. of DeepSpeed", (n) => `_forward_module.module.${n}`],
    [
      "_checkpoint_wrapped_module. of some layers",
      (n) => n.replace("layers.1.", "layers.1._checkpoint_wrapped_module."),
    ],
    ["module. of the encoder alone", (n) => (n.startsWith("audio_encoder.") ? `module.${n}` : n)],
  ])("%s", async (_, rename) => {
    await expectOriginal(await file(renamed(rename), (d) => dict(item("state_dict", d))));
  });

  test("a module's _extra_state is no weight", async () => {
    const extra = item("audio_encoder._extra_state", Uint8Array.of(0x5d));
    await expectOriginal(await file(state.values(), (d) => concat(d, [0x28], extra, [0x75])));
  });
});

test.each([
  ["os", "system"],
  ["builtins", "eval"],
  ["subprocess", "Popen"],
])("%s.%s beside the state dict is refused", async (module, name) => {
  const bomb = item("scheduler", concat(global(module, name), text("touch it"), [0x85, 0x52]));
  const bytes = await file(state.values(), (d) => dict(item("state_dict", d), bomb));
  const { message } = await refusal(() => openTorchFile(bytesSource("x", bytes)));
  expect(message).toMatch(new RegExp(`got "${module}.${name}"; .*do not load it$`));
});

test("a whole object, and an object among the tensors, are refused", async () => {
  const whole = storedZip([["a/data.pkl", concat([0x80, 2], scheduler, [0x2e])]]);
  expect((await refusal(() => openTorchFile(bytesSource("x", whole)))).message).toMatch(
    /^x: pickle: expected a state dict, got a call of "torch.optim.lr_scheduler.LambdaLR"; a whole object was saved/,
  );
  const among = await file(state.values(), (d) => concat(d, [0x28], item("x", scheduler), [0x75]));
  expect((await refusal(() => openTorchFile(bytesSource("x", among)))).message).toMatch(
    /pickle at byte \d+: .*LambdaLR/,
  );
});

/** The trainer's config.yaml: the LLM's directory by its path on that machine. */
const trained = readFileSync(layoutPath("nano/config.yaml"), "utf8").replace(
  "init_param_path: Qwen3-0.6B",
  "init_param_path: /data/base/Qwen3-0.6B",
);

describe("an output directory", () => {
  const adaptor = (): TorchTensor[] =>
    [...state.values()].filter(({ name }) => name.startsWith("audio_adaptor."));
  const output = async (tensors: Iterable<TorchTensor>): Promise<Map<string, Uint8Array>> =>
    new Map([
      ["config.yaml", utf8(trained)],
      ["model.pt", await file(tensors, (d) => dict(item("state_dict", d)))],
    ]);
  const base = memoryFiles("base", layoutFiles("nano"));

  test("without the LLM's directory: one line names the path and --base", async () => {
    const { message } = await refusal(async () => open(memoryFiles("exp", await output(state.values()))));
    expect(message).toBe(
      'exp: Qwen3-0.6B/config.json: expected a file of that name, got none; config.yaml names "/data/base/Qwen3-0.6B"; add --base DIR, the checkpoint that was trained, or copy it there',
    );
  });

  test("without frozen tensors: one line counts them by part; the base has them", async () => {
    const files = await output(adaptor());
    const llm = [...layoutFiles("nano")].filter(([name]) => name.startsWith("Qwen3"));
    const { message } = await refusal(() => open(memoryFiles("exp", new Map([...files, ...llm]))));
    expect(message).toMatch(
      /^exp: model.pt: expected the tensors of a whole model, got without \d+ of \d+ of the encoder, \d+ of \d+ of the LLM, the first "model.audio_tower.layers.0.input_layernorm.weight"; .*--base DIR/,
    );
    const found = await open(filesOverBase(memoryFiles("exp", files), base));
    for (const key of original.tensors.keys())
      expect(await readWhole(found, key), key).toEqual(await readWhole(original, key));
    expect(found.notes.join()).toMatch(/\d+ tensors that exp does not hold are those of base/);
    await found.close();
  });

  test("the trained tensors are the output's, not the base's", async () => {
    const zeros = adaptor().map((t) => ({
      ...t,
      data: new Uint8Array(("data" in t ? (t.data as Uint8Array) : []).length),
    }));
    const found = await open(filesOverBase(memoryFiles("exp", await output(zeros)), base));
    const bytes = await readWhole(found, "model.multi_modal_projector.linear_1.weight");
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  test("a base of another layout, and empty tensors of ZeRO 3", async () => {
    const files = memoryFiles("exp", await output(adaptor()));
    const hf = memoryFiles(
      "hf",
      new Map([...layoutFiles("hf"), ...layoutFiles("nano")].filter(([n]) => n !== "model.pt")),
    );
    expect((await refusal(() => open(filesOverBase(files, hf)))).message).toMatch(
      /^hf: base: expected FunASR's layout, with model.pt, got none; .*convert MODEL OUT --to funasr$/,
    );
    const empty = [...state.values()].map((t) => ({ ...t, shape: [0], data: new Uint8Array() }));
    const zero = memoryFiles("exp", layoutFiles("nano").set("model.pt", await file(empty)));
    expect((await refusal(() => open(zero))).message).toMatch(
      /expected its values, got an empty tensor; DeepSpeed's ZeRO 3 .*zero_to_fp32.py/,
    );
  });
});

describe("on disk", () => {
  const exp = join(root, "exp");
  beforeAll(async () => {
    mkdirSync(join(exp, "model.pt.ep1"), { recursive: true });
    writeFileSync(join(exp, "config.yaml"), trained);
    const bytes = await file(state.values(), (d) =>
      dict(item("state_dict", d), item("scheduler", scheduler)),
    );
    writeFileSync(join(exp, "model.pt.best"), bytes);
    writeFileSync(join(exp, "model.pt.ep2.30"), bytes);
    writeFileSync(join(exp, "averaged.pth"), bytes);
    writeFileSync(
      join(exp, "model.pt.ep1", "mp_rank_00_model_states.pt"),
      await file(state.values(), (d) => dict(item("module", d))),
    );
  });

  test.each([
    "model.pt.best",
    "model.pt.ep2.30",
    "averaged.pth",
    "model.pt.ep1",
    "model.pt.ep1/",
    "model.pt.ep1/mp_rank_00_model_states.pt",
  ])("%s, with its base", async (name) => {
    const found = await open(modelFiles(withBase(join(exp, name), layoutPath("nano"))));
    const key = "model.multi_modal_projector.linear_1.weight";
    expect(await readWhole(found, key)).toEqual(await readWhole(original, key));
    await found.close();
  });

  test("the directory without model.pt: name a file of it", async () => {
    const { message } = await refusal(() => open(modelFiles(exp)));
    expect(message).toMatch(/got model\.pt\.best and 2 more/);
    expect(message).toContain("name the one that is meant, such as DIR/model.pt.best");
  });

  test("a file alone: its config.yaml is the base's", async () => {
    const alone = join(root, "alone.pt");
    writeFileSync(alone, await file(state.values()));
    expect((await refusal(() => open(modelFiles(alone)))).message).toMatch(
      /config.yaml: expected a file of that name, got none; add --base DIR/,
    );
    const found = await open(modelFiles(withBase(alone, layoutPath("nano"))));
    expect(found.tensors.size).toBe(original.tensors.size);
    await found.close();
  });
});
