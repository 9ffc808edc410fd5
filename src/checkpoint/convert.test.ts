import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { fixturePath, realConfig, refusal, utf8 } from "../../test/helpers/checkpoint.js";
import { layoutFiles, layoutPath, readWhole } from "../../test/helpers/layouts.js";
import { parseLlmConfig, parseModelConfig } from "../config/model-config.js";
import { modelDirectory, writeDirectoryAtomic } from "../node/files.js";
import { funasrTemplate } from "../tokenizer/funasr-template.js";
import { openCheckpoint } from "./checkpoint.js";
import { transformersFiles } from "./convert.js";
import type { ConvertOptions } from "./convert.js";
import { fromFloat32, toFloat32 } from "../formats/dtypes.js";
import { hfConfig, hfTextConfig } from "./layouts/hf-config.js";
import { memoryFiles } from "./source.js";
import type { ModelFiles } from "./source.js";

// Plan: a checkpoint of any layout, converted to the transformers layout, opens to the same
// tensors, config, front-end, prompts and stop ids. Existing files are never touched, and a failure
// leaves nothing.

const root = mkdtempSync(join(tmpdir(), "funasr-convert-"));
afterAll(() => rmSync(root, { recursive: true }));

async function convert(
  files: ModelFiles,
  out: string,
  options: Partial<ConvertOptions> = {},
): Promise<string> {
  const checkpoint = await openCheckpoint(files);
  const path = join(root, out);
  try {
    await writeDirectoryAtomic(
      path,
      await transformersFiles(checkpoint, { template: funasrTemplate, ...options }),
    );
  } finally {
    await checkpoint.close();
  }
  return path;
}

describe.each(["nano", "mlx", "hf"])("%s", (name) => {
  test("the same tensors, config, front-end, prompts and stop ids", async () => {
    const before = await openCheckpoint(modelDirectory(layoutPath(name)));
    const after = await openCheckpoint(
      modelDirectory(await convert(modelDirectory(layoutPath(name)), `same-${name}`)),
    );
    expect(after.layout).toBe("transformers");
    expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
    for (const [key, { dtype, shape }] of before.tensors) {
      expect(after.tensors.get(key)).toMatchObject({ dtype, shape });
      expect(await readWhole(after, key), key).toEqual(await readWhole(before, key));
    }
    expect({ ...after.config, raw: undefined }).toEqual({ ...before.config, raw: undefined });
    const fields = (json: unknown): Record<string, unknown> => {
      const { feature_extractor: inner, ...flat } = json as Record<string, unknown>;
      return (inner ?? flat) as Record<string, unknown>;
    };
    const [old, made] = [
      fields((await before.assets.frontend()).json),
      fields((await after.assets.frontend()).json),
    ];
    expect(made).toMatchObject(old);
    expect(made["waveform_scale"]).toBe(name === "hf" ? undefined : 32768);
    expect((await after.assets.tokenizer()).json).toEqual((await before.assets.tokenizer()).json);
    expect((await after.assets.generation()).json).toMatchObject({
      do_sample: false,
      eos_token_id: [258, 256],
    });
    expect((await after.assets.prompt()).template).toBe(funasrTemplate({}));
    expect(after.metadata.get("format")).toBe("pt");
    await Promise.all([before.close(), after.close()]);
  });
});

test("shards above the limit, with an index, and in another dtype", async () => {
  let written = 0;
  const onProgress = (bytes: number): void => void (written = bytes);
  const options = { maxShardBytes: 20_000, dtype: "F16", onProgress } as const;
  const path = await convert(modelDirectory(layoutPath("nano")), "sharded", options);
  const shards = readdirSync(path).filter((f) => f.endsWith(".safetensors"));
  expect(shards).toEqual([
    "model-00001-of-00003.safetensors",
    "model-00002-of-00003.safetensors",
    "model-00003-of-00003.safetensors",
  ]);
  const after = await openCheckpoint(modelDirectory(path));
  const before = await openCheckpoint(modelDirectory(layoutPath("nano")));
  for (const [key, { dtype }] of before.tensors) {
    const want = fromFloat32(toFloat32(await readWhole(before, key), dtype), "F16");
    expect(await readWhole(after, key), key).toEqual(want);
  }
  const index = JSON.parse(readFileSync(join(path, "model.safetensors.index.json"), "utf8")) as {
    metadata: object;
  };
  expect(index.metadata).toEqual({ total_parameters: after.parameterCount, total_size: after.totalBytes });
  expect(written).toBeGreaterThan(after.totalBytes);
  await Promise.all([before.close(), after.close()]);
});

describe("the output directory", () => {
  test("may be empty; a directory with a file, or a file, is refused and not changed", async () => {
    const nano = modelDirectory(layoutPath("nano"));
    mkdirSync(join(root, "empty"));
    await convert(nano, "empty");
    const used = join(root, "used");
    mkdirSync(used);
    writeFileSync(join(used, "notes.txt"), "notes");
    expect((await refusal(() => convert(nano, "used"))).message).toBe(
      `${used}: directory: expected a new or an empty directory, got one that holds 1 file; name another, or remove it first`,
    );
    expect(readdirSync(used)).toEqual(["notes.txt"]);
    expect((await refusal(() => convert(nano, "used/notes.txt"))).got).toBe("a file");
  });

  test("has nothing after a read error", async () => {
    const files = memoryFiles("m", layoutFiles("nano"));
    const failing: ModelFiles = {
      ...files,
      open: async (name) => {
        const source = await files.open(name);
        let reads = 0;
        const read = (at: number, length: number): Promise<Uint8Array> =>
          name === "model.pt" && length > 64 && ++reads > 40
            ? Promise.reject(new Error("gone"))
            : source.read(at, length);
        return { ...source, read };
      },
    };
    await expect(convert(failing, "fails")).rejects.toThrow("gone");
    expect(readdirSync(root).filter((f) => f.startsWith("fails"))).toEqual([]);
  });
});

test("a front-end that does not match the encoder", async () => {
  const files = layoutFiles("mlx");
  files.set("config.json", utf8('{"n_mels":8}'));
  expect((await refusal(() => convert(memoryFiles("m", files), "unfit"))).message).toBe(
    "m/config.json: front-end: expected mel bins times stacked frames of the encoder's input 28, got 8 times 7",
  );
});

test("config.json reads back to the same config", () => {
  const yarn = {
    factor: 4,
    originalMaxPositions: 32768,
    attentionFactor: 1.25,
    betaFast: 31,
    betaSlow: 2,
    truncate: false,
  };
  for (const size of ["0.6B", "1.7B", "4B", "8B"] as const) {
    for (const ropeScaling of [undefined, yarn]) {
      const config = realConfig(size);
      if (ropeScaling) config.llm = { ...config.llm, ropeScaling, maxPositions: 131_072 };
      const json = hfConfig(
        { ...config, audioTokenRule: "low_frame_rate" },
        { melBins: 80, stackedFrames: 7, dtype: "BF16" },
      );
      expect(parseModelConfig(json)).toEqual({ ...config, audioTokenRule: "low_frame_rate", raw: json });
      expect(parseLlmConfig(hfTextConfig(config.llm))).toEqual(config.llm);
    }
  }
});

test("the command", () => {
  const bin = new URL("../cli/main.ts", import.meta.url).pathname;
  const out = join(root, "by-command");
  const run = (...args: string[]): string =>
    execFileSync(process.execPath, ["--import", "tsx", bin, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  expect(run("convert", layoutPath("nano"), out)).toBe(
    `${out}: 7 files, 62.6 kB of weights, from the funasr layout\n`,
  );
  expect(run("inspect", out)).toContain("  layout   transformers: config.json, safetensors\n");
  const report = run("inspect", layoutPath("nano"));
  expect(report).toContain("  layout   FunASR: config.yaml, model.pt, the LLM's directory\n");
  expect(report).toContain("  CTC      22 tensors; refused: ");
  expect(report).toContain("  unused   llm.lm_head.weight: the embedding once more\n");
  expect(JSON.parse(run("inspect", "--json", layoutPath("mlx")))).toMatchObject({
    layout: "mlx",
    ctc: { tensors: 0 },
  });
  expect(run("inspect", fixturePath("tiny"))).toContain("  CTC      none: there are no times of words\n");
  const alone = run("inspect", fileURLToPath(new URL("../../test/fixtures/qwen3/untied", import.meta.url)));
  expect(alone).toContain("  audio    none: a language model alone\n");
  expect(alone).toMatch(/^all +25 +65,080 +130 kB$/m);
});
