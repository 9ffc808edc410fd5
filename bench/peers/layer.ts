import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import type { Gpu } from "../../src/gpu/device.js";
import type { WeightFormat } from "../../src/gpu/matrix.js";
import { wholeSequences } from "../../src/model/kv-cache.js";
import { type LanguageModel, loadLanguageModel, qwen3 } from "../../src/model/qwen3.js";
import { modelDirectory } from "../../src/node/files.js";
import type { Spread } from "../../src/profile/ceiling.js";
import { type Contender, interleave } from "./harness.js";
import { difference, onnxRuntime, uniform } from "./products.js";

const rows = 128;

/** The checkpoint's Qwen3, its first layer and final norm alone. */
async function loadLayer(gpu: Gpu, directory: string, weights: WeightFormat): Promise<LanguageModel> {
  const checkpoint = await openCheckpoint(modelDirectory(directory));
  try {
    const config = { ...checkpoint.config.llm, layers: 1 };
    return await loadLanguageModel(gpu, config, checkpoint, { weights });
  } finally {
    await checkpoint.close();
  }
}

/** The same as ONNX, by torch.onnx. */
function exportLayer(python: string, directory: string): Buffer {
  const work = mkdtempSync(join(tmpdir(), "layer-"));
  try {
    const [script, out] = [
      fileURLToPath(new URL("export_layer.py", import.meta.url)),
      join(work, "layer.onnx"),
    ];
    execFileSync(python, [script, directory, `${rows}`, out], { stdio: ["ignore", "ignore", "inherit"] });
    return readFileSync(out);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Seconds of one Qwen3 layer and the final norm over a sequence of 128 rows. Each time the input is
 * uploaded and the result read. Contenders: ours in f32 and bf16, and onnxruntime's. Their results
 * are compared.
 */
export async function timeLayer(
  gpu: Gpu,
  directory: string,
  { python, rounds }: { readonly python: string; readonly rounds: number },
): Promise<Record<string, Spread>> {
  const ort = onnxRuntime();
  if (!ort) throw new Error("onnxruntime-node: not found; run npm run bench:install");
  const results = new Map<string, Float32Array>();
  const models: LanguageModel[] = [];
  try {
    const contenders: Contender[] = [];
    for (const format of ["f32", "bf16"] as const) models.push(await loadLayer(gpu, directory, format));
    const { hiddenSize } = models[0].llm.config;
    const x = uniform(rows * hiddenSize, 3);
    for (const [i, format] of (["f32", "bf16"] as const).entries()) {
      const name = `funasr-webgpu ${format}`;
      const { llm } = models[i];
      const run = async (): Promise<void> => {
        const [y] = await gpu.step(() => {
          const embeds = gpu.upload(x, [rows, hiddenSize]);
          return [qwen3(gpu, llm, embeds, wholeSequences(gpu, llm.config, [rows]), undefined)];
        });
        results.set(name, y as Float32Array);
      };
      contenders.push({ name, run });
    }
    const model = exportLayer(python, directory);
    for (const provider of ["webgpu", "cpu"]) {
      const options = { executionProviders: [provider], intraOpNumThreads: 2, interOpNumThreads: 1 };
      const session = await ort.InferenceSession.create(model, options);
      const name = `onnxruntime ${provider}`;
      const run = async (): Promise<void> => {
        const { y } = await session.run({ x: new ort.Tensor("float32", x, [1, rows, hiddenSize]) });
        results.set(name, y.data);
      };
      contenders.push({ name, run });
    }
    const times = await interleave(contenders, rounds);
    const want = results.get("onnxruntime cpu")!;
    for (const [name, got] of results)
      if (!(difference(got, want) <= 1e-4)) throw new Error(`${name}: another result than the others'`);
    return times;
  } finally {
    for (const model of models) model.free();
  }
}
