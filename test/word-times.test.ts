import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint } from "../src/checkpoint/checkpoint.js";
import { CTC_FILE, CTC_TOKENIZER, openCtc, openCtcAsAsked } from "../src/checkpoint/ctc.js";
import { openSafetensors } from "../src/checkpoint/safetensors/safetensors.js";
import { type ModelFiles, memoryFiles } from "../src/checkpoint/source.js";
import { loadTranscriber } from "../src/decode/load.js";
import type { PreparedClip, Transcriber, Transcription } from "../src/decode/transcriber.js";
import { CheckpointError } from "../src/formats/errors.js";
import { decodeAudio } from "../src/frontend/decode.js";
import { modelFiles } from "../src/node/model-files.js";
import { useGpu } from "./gpu.js";
import { cli, jsonLines } from "./helpers/cli.js";

const root = new URL("../", import.meta.url);
const at = (path: string): string => fileURLToPath(new URL(path, root));
const demo = at("models/demo");
const names = ["en-seen-1.wav", "zh-seen-1.wav", "zh-unseen-1.wav"];
const gpu = useGpu();

// Plan: words with times from the demo's own head; a batch gives each clip what it gets alone; the
// text is that of a model without times.
describe("times of words", () => {
  let transcriber: Transcriber;
  let clips: PreparedClip[];
  let batch: Transcription[];
  beforeAll(async () => {
    transcriber = await loadTranscriber(gpu(), demo, { wordTimes: true });
    const read = async (name: string): Promise<PreparedClip> =>
      transcriber.prepare(await decodeAudio(readFileSync(at(`models/demo/clips/${name}`)), name), name);
    clips = await Promise.all(names.map(read));
    batch = await transcriber.transcribe(clips);
  });
  afterAll(() => transcriber.free());

  it("are those of whole words and characters, in order, inside the clip", () => {
    for (const { text, words, audioSeconds } of batch) {
      const units = /\p{Script=Han}/u.test(text) ? Array.from(text) : text.split(" ");
      expect(words!.map((word) => word.text)).toEqual(units);
      let last = 0;
      for (const { start, end, confidence } of words!) {
        expect(start).toBeGreaterThanOrEqual(last);
        expect(end).toBeGreaterThan(start);
        expect(confidence).toBeGreaterThan(0.02);
        last = end;
      }
      expect(last).toBeLessThanOrEqual(audioSeconds);
    }
  });

  it("come with the head's own text, which agrees", () => {
    expect(transcriber.warnings).toEqual([]);
    for (const { agreement, ctcText, text } of batch) {
      expect(ctcText).not.toBe("");
      expect(agreement).toBeGreaterThan(text === ctcText ? 0.999 : 0.6);
    }
  });

  it("do not depend on the batch, bit for bit", async () => {
    for (const [i, clip] of clips.entries()) {
      const [alone] = await transcriber.transcribe([clip]);
      expect({ ...alone, seconds: null }).toEqual({ ...batch[i], seconds: null });
    }
  });

  it("leave the text as it is, and no GPU memory behind", async () => {
    const plain = await loadTranscriber(gpu(), demo);
    const results = await plain.transcribe(clips);
    expect(results.map(({ tokenIds }) => tokenIds)).toEqual(batch.map(({ tokenIds }) => tokenIds));
    expect(results.every((result) => result.words === undefined && result.agreement === undefined)).toBe(
      true,
    );
    plain.free();
    expect(gpu().bytes.live).toBe(0);
  });
});

// Plan: the commands that use or keep the head.
describe("commands", () => {
  const clip = at("models/demo/clips/en-seen-1.wav");

  it("transcribe --word-times prints a line for each word, and all of it with --json", async () => {
    const plain = await cli(["transcribe", "--word-times", clip]);
    const [text, ...lines] = plain.stdout.trim().split("\n");
    expect(lines.map((line) => line.split("\t")[2])).toEqual(text.split(" "));
    for (const line of lines) expect(line).toMatch(/^\d+\.\d{3}\t\d+\.\d{3}\t\S+$/);
    const [result] = jsonLines(await cli(["transcribe", "--word-times", "--json", clip]));
    const words = result.words as { start: number; text: string }[];
    expect(words.map((word) => word.start.toFixed(3))).toEqual(lines.map((line) => line.split("\t")[0]));
    expect(result).toMatchObject({ text, finish: "stop", agreement: expect.any(Number) as number });
    const [other] = jsonLines(await cli(["transcribe", "--json", clip]));
    expect(Object.keys(other)).not.toContain("words");
  });

  it("convert keeps the head, inspect counts it", async () => {
    const root = mkdtempSync(join(tmpdir(), "word-times-"));
    try {
      const out = join(root, "out");
      expect((await cli(["convert", demo, out])).code).toBe(0);
      const run = ["transcribe", "--word-times", "--json", clip, "--model"];
      const [before] = jsonLines(await cli([...run, demo]));
      const [after] = jsonLines(await cli([...run, out]));
      expect([after.words, after.agreement]).toEqual([before.words, before.agreement]);
      const [found] = jsonLines(await cli(["inspect", "--json", out]));
      expect(found.ctc).toEqual({ tensors: 38 });
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

/** The demo's files with some of them replaced. */
function demoWith(files: ReadonlyMap<string, Uint8Array>): ModelFiles {
  const [directory, changed] = [modelFiles(demo), memoryFiles("m", files)];
  const of = async (name: string): Promise<ModelFiles> => ((await changed.has(name)) ? changed : directory);
  return {
    ...directory,
    name: "m",
    list: () => directory.list(),
    directory: (name) => directory.directory(name),
    has: async (name) => (await of(name)).has(name),
    open: async (name) => (await of(name)).open(name),
    readText: async (name, most) => (await of(name)).readText(name, most),
  };
}

/** The head's file with tensors renamed. */
function head(rename: (name: string) => string): Uint8Array {
  const bytes = readFileSync(at(`models/demo/${CTC_FILE}`));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, unknown>;
  const renamed = Object.entries(header).map(([name, tensor]) => [rename(name), tensor]);
  const text = Buffer.from(JSON.stringify(Object.fromEntries(renamed)));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, bytes.subarray(8 + length)]);
}

// Plan: a head in model.pt and in a file of its own; a checkpoint without one; a head that is
// incomplete, that is another encoder's, or whose tokenizer is another's: refused, or a warning where
// the head is optional.
describe("openCtc", () => {
  it("reads the same head from the tensors of a checkpoint as from its own file", async () => {
    const files = modelFiles(demo);
    const checkpoint = await openCheckpoint(files);
    const own = (await openCtc(files, checkpoint))!;
    const file = await openSafetensors(await files.open(CTC_FILE));
    const stored = [...file.tensors.values()].map(({ name, dtype, shape, byteLength }) => ({
      name: `module.${name}`,
      file: "model.pt",
      dtype,
      shape,
      byteLength,
    }));
    const read: typeof checkpoint.read = (entry, offset, length) => {
      const { offset: from } = file.tensors.get(entry.sourceName.slice("module.".length))!;
      return file.source.read(from + offset, length);
    };
    const inside = (await openCtc(files, { ...checkpoint, ctc: stored, read }))!;
    expect(inside.config).toEqual(own.config);
    for (const [name, entry] of own.source.tensors) {
      const other = inside.source.tensors.get(name)!;
      expect(await inside.source.read(other, 0, 4)).toEqual(await own.source.read(entry, 0, 4));
    }
    await Promise.all([own.close(), inside.close(), file.source.close(), checkpoint.close()]);
  });

  it("says once that a checkpoint has none", async () => {
    const plain = await loadTranscriber(gpu(), at("test/fixtures/funasr/hf"), { wordTimes: true });
    expect(plain.warnings.filter((text) => text.includes("no CTC head"))).toEqual([
      "the checkpoint has no CTC head: there are no times of words",
    ]);
    plain.free();
  });

  it("refuses the head of a model.pt whose tokenizer is not there", async () => {
    const files = modelFiles(at("test/fixtures/funasr/nano"));
    const checkpoint = await openCheckpoint(files);
    await expect(openCtc(files, checkpoint)).rejects.toThrow(CheckpointError);
    await checkpoint.close();
  });

  const renamed = (from: string, to: string) => (name: string) => (name === from ? to : name);
  const tokenizer = readFileSync(at(`models/demo/${CTC_TOKENIZER}`), "utf8");
  it.each<[string, string, () => Uint8Array, string]>([
    [
      "an incomplete head",
      CTC_FILE,
      () => head(renamed("ctc_decoder.blocks.0.norm1.bias", "x")),
      '"ctc_decoder.blocks.0.norm1.bias": expected a tensor of that name, got none (of 38)',
    ],
    [
      "a head without logits",
      CTC_FILE,
      () => head(renamed("ctc.ctc_lo.weight", "x")),
      '"ctc.ctc_lo.weight": expected a tensor of that name',
    ],
    [
      "a head that is cut",
      CTC_FILE,
      () => readFileSync(at(`models/demo/${CTC_FILE}`)).subarray(0, 5000),
      CTC_FILE,
    ],
    [
      "a tokenizer with more tokens than the head",
      CTC_TOKENIZER,
      () => Buffer.from(`${tokenizer}AAAAAAAA 1032\n`),
      "ranks: expected below 1032, the blank of the CTC head, got 1032",
    ],
    [
      "a tokenizer with fewer tokens than the head",
      CTC_TOKENIZER,
      () => Buffer.from(tokenizer.split("\n").slice(0, 400).join("\n")),
      "ranks: expected 1032 for the head's 1033 rows, got 400",
    ],
    [
      "a tokenizer that lacks one token",
      CTC_TOKENIZER,
      () => Buffer.from(tokenizer.split("\n").toSpliced(700, 1).join("\n")),
      "ranks: expected 1032 for the head's 1033 rows, got 1031",
    ],
    ["a tokenizer that is cut", CTC_TOKENIZER, () => Buffer.from(tokenizer.slice(0, 99)), CTC_TOKENIZER],
  ])("refuses %s", async (_, name, bytes, says) => {
    const files = demoWith(new Map([[name, bytes()]]));
    const checkpoint = await openCheckpoint(files);
    await expect(openCtc(files, checkpoint)).rejects.toThrow(says);
    await expect(openCtcAsAsked(files, checkpoint, true)).rejects.toThrow(says);
    const { head: none, warning } = await openCtcAsAsked(files, checkpoint, "optional");
    expect(none).toBeUndefined();
    expect(warning).toContain("the CTC head is not used");
    expect(warning).toContain(says);
    await checkpoint.close();
  });
});
