import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { refusal, utf8 } from "../../../test/helpers/checkpoint.js";
import { layoutFiles } from "../../../test/helpers/layouts.js";
import { llmFiles } from "../../../test/helpers/tiny-llm.js";
import { tinyFiles } from "../../../test/helpers/tiny-model.js";
import { writtenFiles } from "../../../test/helpers/written.js";
import { mergeMsOf } from "../../decode/segments/transcribe-recording.js";
import { funasrTemplate } from "../../tokenizer/funasr-template.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint.js";
import { transformersFiles } from "../convert.js";
import { planMigration } from "../migrate/migrate.js";
import { openLlm } from "../migrate/open-llm.js";
import { memoryFiles } from "../source.js";

// Plan: how far segments of a recording are joined, as the config of each layout says it: read,
// kept by convert and migrate, 15 s where it says nothing, and refused where it is no number.

type Files = Map<string, Uint8Array>;
type Keys = Readonly<Record<string, unknown>>;

/** A fixture with keys added to its config. */
function fixture(name: string, keys: Keys): Files {
  const files = layoutFiles(name);
  const file = name === "nano" ? "config.yaml" : "config.json";
  const text = new TextDecoder().decode(files.get(file));
  const lines = Object.entries(keys).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`);
  const json = (): string => JSON.stringify({ ...(JSON.parse(text) as object), ...keys });
  return files.set(file, utf8(name === "nano" ? `${text}\n${lines.join("")}` : json()));
}

const open = (files: Files): Promise<Checkpoint> => openCheckpoint(memoryFiles("m", files));

describe.each(["nano", "mlx", "hf"])("%s", (name) => {
  test.each<[Keys, number | undefined, number]>([
    [{}, undefined, 15_000],
    [{ merge_length_s: null, merge_vad: null }, undefined, 15_000],
    [{ merge_length_s: 0 }, 0, 0],
    [{ merge_length_s: 7.5 }, 7.5, 7500],
    [{ merge_vad: true }, undefined, 15_000],
    [{ merge_vad: true, merge_length_s: 20 }, 20, 20_000],
    [{ merge_vad: false }, 0, 0],
    [{ merge_vad: false, merge_length_s: 20 }, 0, 0],
  ])("%j", async (keys, seconds, ms) => {
    const checkpoint = await open(fixture(name, keys));
    expect(checkpoint.config.mergeSeconds).toBe(seconds);
    expect(mergeMsOf(checkpoint.config)).toBe(ms);
    const files = await writtenFiles(await transformersFiles(checkpoint, { template: funasrTemplate }));
    expect((await open(files)).config.mergeSeconds).toBe(seconds);
  });

  test.each<Keys>([
    { merge_length_s: -1 },
    { merge_length_s: "15" },
    { merge_length_s: [15] },
    { merge_vad: 1 },
    { merge_vad: "no" },
  ])("%j is refused", async (keys) => {
    const [[key]] = Object.entries(keys);
    expect((await refusal(() => open(fixture(name, keys)))).message).toContain(`: ${key}: expected `);
  });
});

test("migrate keeps it", async () => {
  const source = await tinyFiles();
  const config = JSON.parse(new TextDecoder().decode(source.get("config.json"))) as object;
  source.set("config.json", utf8(JSON.stringify({ ...config, merge_length_s: 4 })));
  const { files } = await planMigration(
    await open(source),
    await openLlm(memoryFiles("qwen3", await llmFiles())),
    { template: funasrTemplate, sha256: () => createHash("sha256") },
  );
  expect((await open(await writtenFiles(files))).config.mergeSeconds).toBe(4);
});
