import { createHash } from "node:crypto";
import { closeSync, cpSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { type Change, plannedBytes, useTraining } from "../../test/helpers/training-runs.js";
import { modelFiles } from "../node/model-files.js";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { Gpu } from "../gpu/device.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { OutOfMemoryError } from "../weights/memory.js";
import { clipTokens } from "./corpus.js";
import { typicalBatch } from "./plan.js";
import { type SessionSetup, openSession, runFiles } from "./session.js";
import { readValues } from "./state.js";

// What a session refuses beyond train.test.ts: a resumption with other bits of the frozen LLM, or
// in another format; a training that the device has no memory for, by the plan; clips longer than a
// micro-batch, by line; a LoRA that cannot be, before anything is read.
const gpu = useGpu();
const training = useTraining(gpu);
const { directory } = training;

function setup(name: string, { options, ...change }: Change = {}): SessionSetup {
  const out = join(directory().path, name);
  return training.setup({ out, ...change, options: { steps: 1, batchTokens: 1000, ...options } });
}

async function run(given: SessionSetup, resume = false): Promise<number> {
  return (await training.run(given, { resume })).steps.length;
}

/** Turns the lowest bit of the first value of a tensor in model.safetensors. */
function turnBit(model: string, pattern: RegExp): void {
  const path = join(model, "model.safetensors");
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const name = Object.keys(header).find((key) => pattern.test(key))!;
  const at = 8 + length + header[name].data_offsets[0];
  const file = openSync(path, "r+");
  writeSync(file, Buffer.from([bytes[at] ^ 1]), 0, 1, at);
  closeSync(file);
}

test("a run goes on with the LLM it began with alone: one other bit is refused", async () => {
  const first = setup("llm");
  expect(await run(first)).toBe(1);
  expect(await run(first, true)).toBe(0); // it is done
  const other = join(directory().path, "other-model");
  cpSync(join(directory().path, "model"), other, { recursive: true });
  turnBit(other, /layers\.0\.mlp\.down_proj\.weight$/);
  await expect(run({ ...first, model: modelFiles(other) }, true)).rejects.toThrow(
    /last\.safetensors: parameters: expected "/,
  );
});

test("a run saved in the format before is refused by name, and its parameters can still be had", async () => {
  const given = setup("before");
  await run(given);
  const { last } = runFiles(given.out);
  const bytes = readFileSync(last);
  const at = bytes.indexOf(`"format":"3"`);
  const change = (format: string): void => {
    bytes.write(`"format":"${format}"`, at);
    createHash("sha256")
      .update(bytes.subarray(0, -32))
      .digest()
      .copy(bytes, bytes.length - 32);
    writeFileSync(last, bytes);
  };
  change("1");
  await expect(run(given, true)).rejects.toThrow(
    `${last}: format: expected "3", got "1"; it was saved by an earlier version: begin a new run in another --out`,
  );
  expect((await readValues(last)).progress.step).toBe(1);
  change("4");
  await expect(readValues(last)).rejects.toThrow(`${last}: format: expected "3", got "4"`);
});

test("a device without room for the training refuses it before anything is read, by the plan's figures", async () => {
  const checkpoint = await openCheckpoint(modelFiles(join(directory().path, "model")));
  await checkpoint.close();
  const need = async (weights: WeightFormat, batchTokens: number): Promise<number> => {
    const trained = { tune: ["adaptor"], weights } as const;
    return (await plannedBytes(gpu(), checkpoint.config, trained, typicalBatch(batchTokens))).total;
  };
  const { device, subgroupSize } = gpu();
  const empty = new Gpu(device, { subgroupSize }).bytes.reserved;
  const open = async (room: number, change: Change = {}): Promise<number> => {
    const limited = new Gpu(device, { subgroupSize, memoryLimit: empty + room });
    let loaded = 0;
    try {
      (await openSession(limited, { ...setup("room", change), onLoad: () => loaded++ })).free();
    } catch (error) {
      expect(error).toBeInstanceOf(OutOfMemoryError);
      expect(loaded).toBe(0);
      throw error;
    }
    return loaded;
  };
  expect(await open(await need("bf16", 1000))).toBeGreaterThan(0);
  await expect(open((await need("bf16", 1000)) - 1)).rejects.toThrow(
    /: out of device memory: as stored the model needs [\d.]+ MB \([\d.]+ kB of weights, [\d.]+ MB to train adaptor on 1000 tokens a micro-batch\), [\d.]+ MB are left; these --weights would fit: q8 /,
  );
  const few = { options: { batchTokens: 500 } };
  expect(await open((await need("bf16", 1000)) - 1, few)).toBeGreaterThan(0);
  await expect(open(1000, { weights: "q4" })).rejects.toThrow(/take a smaller model, a lower --batch-tokens/);
  const aligned = { options: { align: 1 } }; // of one step: no cross-entropy
  expect(await open((await need("bf16", 1000)) - 1, aligned)).toBeGreaterThan(0);
  await expect(open(1000, aligned)).rejects.toThrow("to align adaptor on 1000 frames a micro-batch");
});

test("clips longer than a micro-batch are reported by line, and left out only with skipBad", async () => {
  const session = await openSession(gpu(), setup("sizes"));
  const sizes = session.run.clips.map(clipTokens);
  session.free();
  const batchTokens = Math.max(...sizes) - 1;
  const reported: string[] = [];
  const given = setup("long", { options: { batchTokens }, onBad: (message) => void reported.push(message) });
  await expect(openSession(gpu(), given)).rejects.toThrow("data.jsonl: expected 8 lines that can be used");
  const { line } = directory().data.utterances[sizes.indexOf(batchTokens + 1)];
  expect(reported[0]).toBe(
    `data.jsonl:${line}: tokens: expected at most ${batchTokens}, got ${batchTokens + 1}; raise --batch-tokens, or cut the clip into parts`,
  );
  const rest = await openSession(gpu(), { ...given, skipBad: true });
  expect(rest.run.clips.map(clipTokens)).toEqual(sizes.filter((size) => size <= batchTokens));
  rest.free();
});

test.each([
  [{ rank: 2.5 }, "LoRA: expected a rank that is a whole number from 1, got 2.5"],
  [{ alpha: 0 }, "LoRA: expected an alpha above 0, got 0"],
  [{ dropout: 1 }, "LoRA: expected a dropout from 0 up to 1, got 1"],
  [{ targets: [] }, "LoRA: expected at least 1 target, got none"],
])("a LoRA of %j is refused before the model is read", async (lora, message) => {
  let loaded = 0;
  const given = setup("lora", { tune: ["lora"], lora });
  await expect(openSession(gpu(), { ...given, onLoad: () => loaded++ })).rejects.toThrow(message);
  expect(loaded).toBe(0);
});
