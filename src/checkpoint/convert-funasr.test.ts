import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { refusal } from "../../test/helpers/checkpoint.js";
import { layoutBytes, layoutPath, readWhole } from "../../test/helpers/layouts.js";
import { modelDirectory, writeDirectoryAtomic } from "../node/files.js";
import { type Checkpoint, openCheckpoint } from "./checkpoint.js";
import { type ConvertFunasrOptions, funasrFiles } from "./convert-funasr.js";
import { bytesSource } from "./source.js";
import { openTorchFile } from "./torch/torch-file.js";

// Plan: a checkpoint of any layout, written in FunASR's, opens to the same tensors, config,
// front-end, prompts and stop ids, under the names of FunASR's own class. What its classes cannot
// hold is refused, and what its trainer does otherwise is a note.

const root = mkdtempSync(join(tmpdir(), "funasr-to-funasr-"));
afterAll(() => rmSync(root, { recursive: true }));

async function convert(
  checkpoint: Checkpoint,
  out: string,
  options: ConvertFunasrOptions = {},
): Promise<{ readonly path: string; readonly notes: readonly string[] }> {
  const path = join(root, out);
  const { files, notes } = await funasrFiles(checkpoint, options);
  await writeDirectoryAtomic(path, files);
  return { path, notes };
}

const open = (path: string): Promise<Checkpoint> => openCheckpoint(modelDirectory(path));
const demo = "models/demo";

test.each(["nano", "mlx", "hf", demo])("%s: the same tensors, config and files beside them", async (name) => {
  const before = await open(name === demo ? demo : layoutPath(name));
  const { path } = await convert(before, name.replace("/", "-"));
  const after = await open(path);
  expect(after.layout).toBe("funasr");
  expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
  for (const [key, { dtype, shape }] of before.tensors) {
    expect(after.tensors.get(key)).toMatchObject({ dtype, shape });
    expect(Buffer.compare(await readWhole(after, key), await readWhole(before, key)), key).toBe(0);
  }
  const { adaptor, ...config } = before.config;
  expect({ ...after.config, raw: undefined }).toEqual({
    ...config,
    adaptor: { ...adaptor, layerNormEps: 1e-12 },
    raw: undefined,
  });
  expect((await after.assets.tokenizer()).json).toEqual((await before.assets.tokenizer()).json);
  const { emptyThought, systemTurn } = await before.assets.prompt();
  expect(await after.assets.prompt()).toMatchObject({
    emptyThought: emptyThought ?? false,
    systemTurn: systemTurn ?? true,
  });
  const frontend = (await after.assets.frontend()).json;
  expect(frontend).toMatchObject({ waveform_scale: ["nano", "mlx"].includes(name) ? 32768 : 1, dither: 0 });
  expect(after.ignored.map(({ sourceName }) => sourceName)).toEqual(["llm.lm_head.weight"]);
  await Promise.all([before.close(), after.close()]);
});

test("the names of FunASR's class, each once, and a tied head in the embedding's storage", async () => {
  const before = await open(layoutPath("hf"));
  const written = await funasrFiles(before);
  const pieces: Uint8Array[] = [];
  let progress = 0;
  const { files } = await funasrFiles(before, { onProgress: (done) => (progress = done) });
  for await (const piece of files.at(-1)!.pieces()) pieces.push(piece.slice());
  expect(progress).toBe(pieces.reduce((sum, { length }) => sum + length, 0));
  const made = await openTorchFile(bytesSource("made", Buffer.concat(pieces)));
  const theirs = await openTorchFile(bytesSource("theirs", layoutBytes("nano/model.pt")));
  expect([...made.keys()].sort()).toEqual([...theirs.keys()].filter((n) => !n.startsWith("ctc")).sort());
  for (const [name, { shape }] of made) expect(theirs.get(name)!.shape, name).toEqual(shape);
  expect(made.get("llm.lm_head.weight")!.offset).toBe(made.get("llm.model.embed_tokens.weight")!.offset);
  expect(written.files.map(({ name }) => name)).toEqual([
    ...["config.yaml", "configuration.json", "Qwen3-0.6B/config.json", "Qwen3-0.6B/generation_config.json"],
    ...["Qwen3-0.6B/tokenizer.json", "Qwen3-0.6B/tokenizer_config.json", "model.pt"],
  ]);
  await before.close();
});

test("another type, and a signal that stops", async () => {
  const before = await open(layoutPath("nano"));
  const { path } = await convert(before, "f16", { dtype: "F16" });
  const after = await open(path);
  expect(new Set([...after.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["F16"]));
  const stop = AbortSignal.abort(new Error("stop"));
  await expect(funasrFiles(before, { signal: stop })).rejects.toThrow("stop");
  await Promise.all([before.close(), after.close()]);
});

test("what FunASR does otherwise is a note", async () => {
  const before = await open(demo);
  const { notes } = await funasrFiles(before);
  expect(notes).toEqual([
    expect.stringMatching(/first eighth .* \+\+audio_adaptor_conf.use_low_frame_rate=true$/),
    "FunASR computes the adaptor's LayerNorm with eps 1e-12, not 0.00001",
    expect.stringContaining("unit scale"),
  ]);
  await before.close();
});

test.each<[string, (c: Checkpoint["config"]) => Checkpoint["config"], RegExp]>([
  [
    "no layers of timestamp prediction",
    (c) => ({ ...c, encoder: { ...c.encoder, tpLayers: 0 } }),
    /tp_blocks: expected timestamp-prediction layers, 1 or more, got 0; FunASR's classes hold no other$/,
  ],
  [
    "an adaptor of another FFN",
    (c) => ({ ...c, adaptor: { ...c.adaptor, intermediateSize: 8 } }),
    /adaptor's FFN: expected a quarter of the LLM's width, 4, got 8; /,
  ],
])("refused: %s", async (_, change, message) => {
  const before = await open(layoutPath("hf"));
  const changed = { ...before, config: change(before.config) };
  expect((await refusal(() => funasrFiles(changed))).message).toMatch(message);
  await before.close();
});
