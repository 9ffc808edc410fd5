import { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../src/checkpoint/checkpoint.js";
import type { WriteTensor } from "../src/checkpoint/safetensors/write.js";
import { bytesSource } from "../src/checkpoint/source.js";
import type { Dtype } from "../src/formats/dtypes.js";
import { demoModel } from "../src/node/demo.js";
import { openDevice } from "../src/node/device.js";
import { writeDirectoryAtomic } from "../src/node/files.js";
import { modelFiles } from "../src/node/model-files.js";
import { type TrainedValues, adapterFiles } from "../src/train/export.js";
import { paddedRank, projectionName } from "../src/train/lora.js";
import { openBundle } from "../src/verify/bundle.js";
import { runBundle } from "../src/verify/run.js";
import { values } from "./gpu.js";
import { bundleBytes } from "./helpers/bundles.js";
import { cli, expectRefusal, jsonLines } from "./helpers/cli.js";
import { layoutPath } from "./helpers/layouts.js";
import { loraFixturePath } from "./helpers/lora.js";
import { wav } from "./helpers/wav.js";

// Every command that opens a model takes --lora DIR: what it gives is what the merged checkpoint
// gives, and a directory without a LoRA is refused. Merged checkpoints are those that convert
// writes. The model is the demo; its LoRA is laid out as `train` leaves one.

const root = mkdtempSync(join(tmpdir(), "funasr-lora-"));
afterAll(() => rmSync(root, { recursive: true }));
const [lora, merged] = ["lora", "merged"].map((name) => join(root, name));
const clip = join(demoModel, "clips", "en-seen-2.wav");
const data = join(root, "data.jsonl");
const weights = (directory: string): Buffer => readFileSync(join(directory, "model.safetensors"));

/** A LoRA of rank 3 on the demo's q_proj and v_proj that changes answers. */
async function writeLora(): Promise<void> {
  const checkpoint = await openCheckpoint(modelFiles(demoModel));
  const [rank, padded] = [3, paddedRank(3)];
  const trained = new Map<string, TrainedValues>();
  for (let layer = 0; layer < checkpoint.config.llm.layers; layer++)
    for (const target of ["q_proj", "v_proj"] as const) {
      const name = projectionName(layer, target);
      const [rows, columns] = checkpoint.tensors.get(`${name}.weight`)!.shape;
      const a = values(padded * columns, layer + 1).map((v, i) => (i < rank * columns ? v : 0));
      const b = values(rows * padded, layer + 9).map((v, i) => (i % padded < rank ? v : 0));
      trained.set(`${name}.lora_A.weight`, { shape: [padded, columns], values: new Uint8Array(a.buffer) });
      trained.set(`${name}.lora_B.weight`, { shape: [rows, padded], values: new Uint8Array(b.buffer) });
    }
  await checkpoint.close();
  const shape = { rank, alpha: 6, dropout: 0, targets: ["q_proj", "v_proj"] };
  await writeDirectoryAtomic(lora, adapterFiles(trained, shape, { base: "demo" }));
}

beforeAll(async () => {
  await writeLora();
  expect((await cli(["convert", demoModel, merged, "--lora", lora])).code).toBe(0);
  copyFileSync(clip, join(root, "a.wav"));
  writeFileSync(data, '{"audio":"a.wav","text":"remind me","language":"en"}\n');
});

/**
 * The same command on the base beside its LoRA, on the merged checkpoint, and on the base alone.
 */
async function three(before: string[], after: string[] = []): Promise<Record<string, unknown>[]> {
  const models = [[demoModel, "--lora", lora], [merged], [demoModel]];
  const results: Record<string, unknown>[] = [];
  for (const [i, model] of models.entries()) {
    const args = after.map((text) => text.replace("OUT", join(root, `${before[0]}-${i}`)));
    const run = await cli([...before, ...model, ...args]);
    expect([run.code, run.stderr]).toEqual([0, expect.any(String)]);
    results.push(jsonLines(run)[0] ?? {});
  }
  return results;
}

describe("beside the base as merged", () => {
  test("transcribe, translate and generate: tokens", async () => {
    for (const [before, after] of [
      [["transcribe", "--json", "--model"], [clip]],
      [["translate", "--json", "--to", "zh", "--model"], [clip]],
      [["generate", "remind me to", "--json", "--max-tokens", "8", "--model"], []],
    ]) {
      const [beside, whole, base] = await three(before, after);
      expect(beside.tokenIds).toEqual(whole.tokenIds);
      if (before[0] !== "generate") expect(beside.tokenIds).not.toEqual(base.tokenIds);
    }
  });

  test("evaluate: hypotheses", async () => {
    await three(["evaluate", "--json", "--data", data, "--second", "0", "--model"], ["--out", "OUT"]);
    const [beside, whole, base] = [0, 1, 2].map((i) => {
      const text = readFileSync(join(root, `evaluate-${i}`, "utterances-stored.jsonl"), "utf8");
      return (JSON.parse(text.split("\n")[0]) as { hypothesis: string }).hypothesis;
    });
    expect(beside).toBe(whole);
    expect(beside).not.toBe(base);
  });

  test("train: the losses of its first step, and the checkpoint that it writes", async () => {
    await three(["train", "--json", "--data", data, "--steps", "1", "--model"], ["--out", "OUT"]);
    const [beside, whole, base] = [0, 1, 2].map((i) => {
      const lines = readFileSync(join(root, `train-${i}`, "metrics.jsonl"), "utf8").split("\n");
      return lines.map((line) => /"loss":([\d.]+)/.exec(line)?.[1]).find((loss) => loss !== undefined);
    });
    expect([beside, beside === base]).toEqual([whole, false]);
    const [a, b] = [0, 1].map((i) => weights(join(root, `train-${i}`, "checkpoint")));
    expect(a.equals(b)).toBe(true);
  });

  test("migrate: the LLM that it takes", async () => {
    const migrated = async (name: string, ...llm: string[]): Promise<Buffer> => {
      const out = join(root, name);
      expect((await cli(["migrate", "--encoder", demoModel, "--out", out, "--llm", ...llm])).code).toBe(0);
      const files = readdirSync(out).filter((file) => file.endsWith(".safetensors"));
      return Buffer.concat(files.sort().map((file) => readFileSync(join(out, file))));
    };
    const beside = await migrated("migrated", demoModel, "--lora", lora);
    expect(beside.equals(await migrated("migrated-merged", merged))).toBe(true);
    expect(beside.equals(await migrated("migrated-base", demoModel))).toBe(false);
  });

  test("verify: the figures of a bundle that holds the merged model's own states", async () => {
    const checkpoint = await openCheckpoint(modelFiles(merged));
    const { gpu } = await openDevice();
    const ids = [5, 60, 700, 9];
    const shape = [ids.length, checkpoint.config.llm.hiddenSize];
    const bundle = (states: Float32Array): Promise<Uint8Array> => {
      const torch = states.map((value, i) => value * (1 + (i % 2 === 0 ? 1e-4 : -1e-4)));
      const tensors: [string, Dtype, readonly number[], ArrayBufferView][] = [
        ["input.token_ids", "I64", [ids.length], BigInt64Array.from(ids, BigInt)],
        ["input.token_segments", "I64", [2], BigInt64Array.of(0n, BigInt(ids.length))],
        ["llm.norm", "F32", shape, torch],
        ["f64.llm.norm", "F64", shape, Float64Array.from(states)],
      ];
      const written = tensors.map(([name, dtype, size, { buffer }]): [string, WriteTensor] => [
        name,
        { name, dtype, shape: size, data: new Uint8Array(buffer) },
      ]);
      const config = readFileSync(join(demoModel, "config.json"), "utf8");
      const metadata = { start: "input.token_ids", kind: "llm", weights: "generator", config };
      return bundleBytes({ tensors: new Map(written), metadata: new Map(Object.entries(metadata)) });
    };
    const empty = await bundle(new Float32Array(shape[0] * shape[1]));
    const opened = await openBundle(bytesSource("empty", empty));
    const { floats } = await runBundle(gpu, opened, { parameters: checkpoint });
    const path = join(root, "bundle.safetensors");
    writeFileSync(path, await bundle(floats.get("llm.norm")!.data as Float32Array));
    await checkpoint.close();
    gpu.destroy();
    const verified = async (...model: string[]): Promise<[number | null, unknown[]]> => {
      const run = await cli(["verify", path, "--json", "--model", ...model]);
      return [run.code, jsonLines(run)];
    };
    const [code, beside] = await verified(demoModel, "--lora", lora);
    expect([code, beside]).toEqual(await verified(merged));
    expect(beside).toEqual([expect.objectContaining({ stage: "llm.norm", ok: true, ratio: 0 })]);
    expect(await verified(demoModel)).toEqual([1, [expect.objectContaining({ ok: false })]]);
  });

  test("inspect notes it, profile runs it", async () => {
    const [inspected] = jsonLines(await cli(["inspect", demoModel, "--lora", lora, "--json"]));
    expect(inspected.notes).toEqual([`${lora}: a LoRA on 6 layers is merged into the weights`]);
    const run = await cli(["profile", clip, "--model", demoModel, "--lora", lora, "--json"]);
    expect(run.code).toBe(0);
  });
});

// Plan: LoRAs as peft and FunASR save them, on FunASR's own layout.
test.each(["plain", "funasr"])("the layout of %s: transcribe beside as merged", async (name) => {
  const [base, directory] = [layoutPath("nano"), loraFixturePath(name)];
  const [whole, sound] = [join(root, `whole-${name}`), join(root, "noise.wav")];
  writeFileSync(sound, wav(1.5, 3));
  expect((await cli(["convert", base, whole, "--lora", directory])).code).toBe(0);
  const tokens = async (...model: string[]): Promise<unknown> => {
    const run = await cli(["transcribe", "--json", "--language", "en", "--max-tokens", "12", sound, "--model", ...model]); // prettier-ignore
    return jsonLines(run)[0].tokenIds;
  };
  const beside = await tokens(base, "--lora", directory);
  expect(beside).toEqual(await tokens(whole));
  expect(beside).not.toEqual(await tokens(base));
});

test.each([
  ["transcribe", clip, "--model", demoModel],
  ["translate", clip, "--to", "zh", "--model", demoModel],
  ["evaluate", "--data", data, "--model", demoModel],
  ["generate", "hi", "--model", demoModel],
  ["train", "--data", data, "--out", join(root, "none"), "--model", demoModel],
  ["verify", "--model", demoModel],
  ["inspect", demoModel],
  ["convert", demoModel, join(root, "none")],
  ["migrate", "--encoder", demoModel, "--llm", demoModel, "--out", join(root, "none")],
  ["profile", clip, "--model", demoModel],
])("%s refuses a directory without a LoRA", async (...args) => {
  const line = expectRefusal(await cli([...args, "--lora", demoModel]));
  expect(line).toContain(`${demoModel}: directory: expected a LoRA: adapter_config.json with`);
});
