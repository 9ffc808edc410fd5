import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { demoModel } from "../src/node/demo.js";
import { modelDirectory, openFile } from "../src/node/files.js";
import { decodeAudio } from "../src/frontend/decode.js";
import { gpuSizes } from "../src/kernels/gpu-sizes.js";
import { Timing } from "../src/gpu/timing.js";
import { Transcriber } from "../src/decode/transcriber.js";
import { openBundle } from "../src/verify/bundle.js";
import { verifyBundle } from "../src/verify/verify.js";
import { useGpu } from "./gpu.js";

// Plan: the sizes that GPUs take, here: the demo's clips together have the tokens and agreements of
// the usual sizes, and golden bundles of gradients and of the model pass; the kernels for GPUs run.
const gpu = useGpu({ timestamps: true });
afterEach(() => (gpu().tuning = {}));
const table = gpuSizes({ vendor: "nvidia", architecture: "", device: "", description: "" } as GPUAdapterInfo);

test("the demo's clips, three at a time", async () => {
  const transcriber = await Transcriber.load(gpu(), modelDirectory(demoModel));
  const names = ["en-seen-1.wav", "zh-seen-1.wav", "en-unseen-1.wav"];
  const clips = await Promise.all(
    names.map(async (name) =>
      transcriber.prepare(await decodeAudio(readFileSync(join(demoModel, "clips", name)), name), name),
    ),
  );
  const run = async (): Promise<unknown[]> =>
    (await transcriber.transcribe(clips)).map(({ tokenIds, text }) => [tokenIds, text]);
  const usual = await run();
  gpu().tuning = table;
  const timing = (gpu().timing = new Timing(gpu().device));
  const chosen = await run();
  gpu().timing = undefined;
  const ran = new Set((await timing.collect()).dispatches.map(({ kernel }) => kernel.name));
  transcriber.free();
  expect(chosen).toEqual(usual);
  expect([...ran]).toEqual(expect.arrayContaining(["linear/linear-blocks"]));
});

const folder = fileURLToPath(new URL("../golden/bundles/", import.meta.url));
test.each(readdirSync(folder).filter((name) => /^(llm-151|model-all-packed|train-lora)/.test(name)))(
  "%s",
  async (name) => {
    gpu().tuning = table;
    const source = await openFile(join(folder, name));
    try {
      const results = await verifyBundle(gpu(), await openBundle(source));
      expect(results.length).toBeGreaterThan(0);
      expect(results.filter(({ ok }) => !ok)).toEqual([]);
    } finally {
      await source.close();
    }
  },
);
