import { describe, expect, test } from "vitest";
import { utf8 } from "../../../test/helpers/checkpoint.js";
import { layoutFiles, readWhole } from "../../../test/helpers/layouts.js";
import { loraFixture, loraFixtureFile } from "../../../test/helpers/lora.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint.js";
import { toFloat32 } from "../../formats/dtypes.js";
import { openSafetensors, readFloat32 } from "../safetensors/safetensors.js";
import { safetensorsBytes } from "../safetensors/write.js";
import { bytesSource, memoryFiles } from "../source.js";
import { applyLora } from "./apply.js";
import { canonicalTensors } from "./names.js";
import { openLora } from "./open.js";
import { layerPattern } from "./pattern.js";
import { plainModule } from "./tensors.js";

// Plan: LoRAs of peft and FunASR merge to the weights that peft and FunASR compute, under the names
// of any program. Reads in pieces give the same bits. A LoRA that is not implemented or for another
// model is refused in one line.

const base = (layout = "hf"): Promise<Checkpoint> => openCheckpoint(memoryFiles(layout, layoutFiles(layout)));

/** FunASR's model with the LoRA in model.pt. */
function funasrFiles(edit: (config: string) => string = (config) => config): Map<string, Uint8Array> {
  const lora = loraFixture("funasr");
  const config = new TextDecoder().decode(lora.get("config.yaml"));
  return new Map([...layoutFiles("nano"), ...lora, ["config.yaml", utf8(edit(config))]]);
}

/** The merged weights of a fixture, by canonical name. */
async function expected(name: string, { tensors, config }: Checkpoint): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(bytesSource(name, loraFixtureFile(`${name}.safetensors`)));
  const weights = new Map<string, Float32Array>();
  for (const stored of file.tensors.keys()) {
    const names = canonicalTensors(stored, tensors, config)!;
    const values = await readFloat32(file, stored);
    const length = values.length / names.length;
    for (const [i, name] of names.entries()) weights.set(name, values.subarray(i * length, (i + 1) * length));
  }
  return weights;
}

describe("merged weights", () => {
  test.each([
    ["plain", "hf"],
    ["plain", "nano"],
    ["plain", "mlx"],
    ["rslora", "hf"],
    ["dora", "hf"],
    ["saved", "hf"],
    ["encoder", "hf"],
    ["encoder", "nano"],
    ["llm", "hf"],
    ["funasr", "hf"],
    ["funasr", "nano"],
  ])("%s on %s", async (name, layout) => {
    const lora = await openLora(memoryFiles(name, loraFixture(name)));
    const before = await base(layout);
    const want = await expected(name, before);
    const merged = await applyLora(before, { ...lora, dtype: "F32" });
    const changed = [...merged.tensors.values()].filter((entry) => before.tensors.get(entry.name) !== entry);
    expect(changed.map((entry) => entry.name).sort()).toEqual([...want.keys()].sort());
    for (const { name } of changed) {
      const got = toFloat32(await readWhole(merged, name), "F32");
      for (const [i, value] of want.get(name)!.entries())
        if (!(Math.abs(got[i] - value) <= 2e-6)) expect.fail(`${name}[${i}]: got ${got[i]}, want ${value}`);
    }
    expect(merged.notes.at(-1)).toMatch(/^\w+: a LoRA on \d+ layers is merged into the weights/);
    await merged.close();
  });

  test("lora_A and lora_B in FunASR's model.pt with a bf16 LLM", async () => {
    const merged = await openCheckpoint(memoryFiles("tuned", funasrFiles()));
    const apart = await openCheckpoint(memoryFiles("nano", layoutFiles("nano")), [
      memoryFiles("funasr", loraFixture("funasr")),
    ]);
    for (const name of apart.tensors.keys())
      expect(Buffer.from(await readWhole(merged, name)).equals(await readWhole(apart, name)), name).toBe(
        true,
      );
    const plain = await base("nano");
    const name = "model.language_model.layers.1.self_attn.v_proj.weight";
    expect(Buffer.from(await readWhole(merged, name)).equals(await readWhole(plain, name))).toBe(false);
  });

  test("reads in pieces give the same bits, at any offset", async () => {
    const merged = await openCheckpoint(memoryFiles("hf", layoutFiles("hf")), [
      memoryFiles("dora", loraFixture("dora")),
    ]);
    const entry = merged.tensors.get("model.language_model.layers.0.mlp.up_proj.weight")!;
    expect(entry.dtype).toBe("BF16");
    const whole = await readWhole(merged, entry.name);
    for (const [at, length] of [
      [0, 2],
      [2, 62],
      [30, 4],
      [whole.length - 34, 34],
      [7, 1],
      [5, 0],
    ])
      expect([...(await merged.read(entry, at, length))]).toEqual([...whole.subarray(at, at + length)]);
    await expect(merged.read(entry, whole.length - 1, 2)).rejects.toThrow(/expected a range inside its/);
  });

  test("several LoRAs are merged in order", async () => {
    const directories = ["plain", "rslora"].map((name) => memoryFiles(name, loraFixture(name)));
    const both = await openCheckpoint(memoryFiles("hf", layoutFiles("hf")), directories);
    expect(both.notes.slice(-2).map((line) => line.split(":")[0])).toEqual(["plain", "rslora"]);
  });
});

/** A LoRA of peft with a changed config or changed tensors. */
async function edited(
  name: string,
  config: Record<string, unknown>,
  tensors?: Parameters<typeof safetensorsBytes>[0],
): Promise<Map<string, Uint8Array>> {
  const files = loraFixture(name);
  const before = JSON.parse(new TextDecoder().decode(files.get("adapter_config.json"))) as object;
  files.set("adapter_config.json", utf8(JSON.stringify({ ...before, ...config })));
  if (tensors) files.set("adapter_model.safetensors", await safetensorsBytes(tensors));
  return files;
}

const q = "base_model.model.model.language_model.layers.0.self_attn.q_proj";
const tensor = (
  name: string,
  shape: number[],
): { name: string; shape: number[]; dtype: "F32"; data: Uint8Array } => ({
  name,
  shape,
  dtype: "F32",
  data: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)),
});
const pair = (module: string, rows: number, columns: number): ReturnType<typeof tensor>[] => [
  tensor(`${module}.lora_A.weight`, [2, columns]),
  tensor(`${module}.lora_B.weight`, [rows, 2]),
];

describe("refusals", () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    [
      "another kind",
      { peft_type: "LOHA" },
      /peft_type: expected "LORA", got "LOHA"; nothing else is implemented$/,
    ],
    [
      "biases of B",
      { lora_bias: true },
      /lora_bias: expected none, got true; this variant of LoRA is not implemented$/,
    ],
    ["QALoRA", { use_qalora: true }, /use_qalora: expected none/],
    ["copied layers", { layer_replication: [[0, 1]] }, /layer_replication: expected none/],
    ["tokens", { trainable_token_indices: [3] }, /trainable_token_indices: expected none/],
    ["parameters", { target_parameters: ["x"] }, /target_parameters: expected none/],
    [
      "PiSSA",
      { init_lora_weights: "pissa_niter_4" },
      /init_lora_weights: expected one that leaves the base as it is/,
    ],
    ["another rank", { r: 4 }, /r: expected 2, the rank of "model\.[^,]*, got 4; do the two files belong/],
    ["no number", { lora_alpha: "8" }, /lora_alpha: expected a positive number, got "8"$/],
    ["alpha 0", { lora_alpha: 0 }, /lora_alpha: expected a positive number, got 0$/],
    [
      "a pattern that could run for ever",
      { alpha_pattern: { "(a+)+$": 1 } },
      /alpha_pattern: expected names of layers/,
    ],
    [
      "a pattern's number",
      { rank_pattern: { k_proj: "2" } },
      /rank_pattern\.k_proj: expected a positive number, got "2"$/,
    ],
  ])("%s", async (_, config, message) => {
    const files = memoryFiles("lora", await edited("rslora", config));
    await expect(openLora(files)).rejects.toThrow(message);
  });

  test.each<[string, ReturnType<typeof tensor>[], RegExp]>([
    ["a factor alone", [pair(q, 32, 16)[0]], /q_proj": expected both lora_A and lora_B, got A$/],
    [
      "ranks that differ",
      [tensor(`${q}.lora_A.weight`, [2, 16]), tensor(`${q}.lora_B.weight`, [32, 3])],
      /expected lora_A of \[rank, inputs\]/,
    ],
    [
      "rank 0",
      [tensor(`${q}.lora_A.weight`, [0, 16]), tensor(`${q}.lora_B.weight`, [32, 0])],
      /expected lora_A of \[rank, inputs\]/,
    ],
    [
      "an embedding",
      [tensor("base_model.model.model.language_model.embed_tokens.lora_embedding_A", [2, 16])],
      /expected lora_A and lora_B, got another part of a LoRA$/,
    ],
    [
      "a factor twice",
      [...pair(q, 32, 16), tensor(`${q}.lora_A.other.weight`, [2, 16])],
      /expected one lora_A of .*, got a second one$/,
    ],
    ["nothing", [], /tensors: expected a LoRA's lora_A and lora_B, got none$/],
  ])("%s", async (_, tensors, message) => {
    await expect(openLora(memoryFiles("lora", await edited("rslora", {}, tensors)))).rejects.toThrow(message);
  });

  test.each<[string, ReturnType<typeof tensor>[], RegExp]>([
    [
      "inputs",
      pair(q, 32, 24),
      /^lora: "model\..*q_proj": expected lora_A of \[2, 16\] and lora_B of \[32, 2\], for a weight of \[32, 16\], got \[2, 24\] and \[32, 2\]; was it trained on another model\?$/,
    ],
    ["outputs", pair(q, 16, 16), /q_proj": expected lora_A/],
    [
      "a layer that is absent",
      pair(q.replace("layers.0", "layers.9"), 32, 16),
      /layers\.9\..*: expected a tensor of hf, got none of that name; was it trained on another model\?$/,
    ],
    ["a tied head", pair("base_model.model.lm_head", 266, 16), /with a head of its own/],
    ["a vector", pair("base_model.model.model.language_model.norm", 16, 16), /for a weight of \[16\]/],
    [
      "a replaced tensor",
      [...pair(q, 32, 16), tensor("base_model.model.model.language_model.norm.weight", [8])],
      /norm\.weight": expected \[16\], got \[8\]/,
    ],
  ])("another model: %s", async (_, tensors, message) => {
    const files = memoryFiles("lora", await edited("rslora", {}, tensors));
    await expect(openCheckpoint(memoryFiles("hf", layoutFiles("hf")), [files])).rejects.toThrow(message);
  });

  test("a directory without a LoRA, and FunASR's without the scale", async () => {
    await expect(openLora(memoryFiles("m", layoutFiles("hf")))).rejects.toThrow(
      /^m: directory: expected a LoRA: .*, got neither; a whole model goes to --model$/,
    );
    await expect(openLora(memoryFiles("m", layoutFiles("nano")))).rejects.toThrow(/expected/);
    for (const [from, to, message] of [
      [
        "use_lora: true",
        "use_lora: false",
        /llm_conf\.use_lora: expected true, got false; model\.pt holds lora_A/,
      ],
      ["r: 3", "r: 4", /llm_conf\.lora_conf\.r: expected 3, the rank of .* in model\.pt, got 4/],
      ["lora_alpha: 5", "lora_alpha: x", /lora_conf\.lora_alpha: expected a positive number, got "x"/],
    ] as const)
      await expect(
        openCheckpoint(
          memoryFiles(
            "tuned",
            funasrFiles((config) => config.replace(from, to)),
          ),
        ),
      ).rejects.toThrow(message);
  });
});

test("patterns of layers", () => {
  const name = "model.language_model.layers.10.self_attn.q_proj";
  for (const [key, matches] of [
    ["q_proj", true],
    ["self_attn.q_proj", true],
    [`^${name}`, true],
    ["^q_proj", false],
    ["roj", false],
    [String.raw`.*layers\.\d+\.self_attn\.(q_proj|v_proj)$`, true],
    ["layers.1.self_attn.q_proj", false],
  ] as const)
    expect([key, layerPattern(key)!.test(name)]).toEqual([key, matches]);
  for (const key of ["", "(a+)+", "a|b", "[a-z]+", ".*.*.*.*a", "(?=a)", "a{9}", "x".repeat(301)])
    expect([key, layerPattern(key)]).toEqual([key, undefined]);
});

test.each([
  ["base_model.model.model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj"],
  ["module._orig_mod.base_model.model.q_proj.base_layer", "q_proj"],
  ["model.layers.0._checkpoint_wrapped_module.mlp.up_proj", "model.layers.0.mlp.up_proj"],
  ["model._fsdp_wrapped_module.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"],
  ["_forward_module.lm_head.modules_to_save.default.weight", "lm_head.weight"],
  ["model.modules.q_proj", "model.modules.q_proj"],
])("the plain name of %s", (name, plain) => {
  expect(plainModule(name)).toBe(plain);
});
