import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openCheckpoint } from "../src/checkpoint/checkpoint.js";
import { transformersFiles } from "../src/checkpoint/convert.js";
import { Transcriber } from "../src/decode/transcriber.js";
import { adapt, encode, loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import { modelDirectory, writeDirectoryAtomic } from "../src/node/files.js";
import { funasrTemplate } from "../src/tokenizer/funasr-template.js";
import { useGpu, values } from "./gpu.js";
import { layoutPath } from "./helpers/layouts.js";

// The same weights in any layout give the same bits at every stage of encoder and adaptor, and the
// same text.

const gpu = useGpu();
const root = mkdtempSync(join(tmpdir(), "funasr-layouts-"));
afterAll(() => rmSync(root, { recursive: true }));

async function stages(directory: string): Promise<Map<string, unknown>> {
  const checkpoint = await openCheckpoint(modelDirectory(directory));
  const rule = { audioTokenRule: "all" } as const; // the -hf form's, so that every row is compared
  const model = await loadFunAsrNano(gpu(), { ...checkpoint.config, ...rule }, checkpoint);
  await checkpoint.close();
  const frames = [7, 12];
  const features = values(19 * model.config.encoder.inputSize, 5);
  const reads: [string, Promise<unknown>][] = [];
  await gpu().step(() => {
    const tap = (name: string, tensor: Parameters<ReturnType<typeof gpu>["read"]>[0]): void =>
      void reads.push([name, gpu().read(tensor)]);
    adapt(gpu(), model, encode(gpu(), model, { features, frames }, tap), frames, tap);
    return [];
  });
  model.free();
  return new Map(await Promise.all(reads.map(async ([name, data]) => [name, await data] as const)));
}

test("every stage, bit for bit", async () => {
  const want = await stages(layoutPath("hf"));
  expect([...want.keys()]).toEqual([
    ...["encoder.stem", "encoder.layers.0", "encoder.layers.1", "encoder.norm", "encoder.tp_layers.0"],
    ...["encoder.output", "adaptor.projector", "adaptor.blocks.0"],
  ]);
  for (const name of ["nano", "mlx"]) {
    const got = await stages(layoutPath(name));
    for (const [stage, data] of want) expect(got.get(stage), `${name} ${stage}`).toEqual(data);
  }
});

test("the same tokens from the FunASR form, the MLX form, and what convert makes of the first", async () => {
  const converted = join(root, "hf");
  const checkpoint = await openCheckpoint(modelDirectory(layoutPath("nano")));
  await writeDirectoryAtomic(converted, await transformersFiles(checkpoint, { template: funasrTemplate }));
  await checkpoint.close();
  const results: unknown[] = [];
  for (const directory of [layoutPath("nano"), layoutPath("mlx"), converted]) {
    const transcriber = await Transcriber.load(gpu(), modelDirectory(directory));
    const clip = transcriber.prepare({ channels: [values(24_000, 9)], sampleRate: 16_000 }, "noise");
    const options = { maxNewTokens: 12, language: "en", hotwords: ["bits"] } as const;
    const [{ text, tokenIds, finish }] = await transcriber.transcribe([clip], options);
    expect(transcriber.frontend.waveformScale).toBe(32768);
    expect(tokenIds.length).toBeGreaterThan(0);
    results.push({ text, tokenIds, finish });
    transcriber.free();
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});
