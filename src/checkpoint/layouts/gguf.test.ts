import { describe, expect, test } from "vitest";
import { fixtureFiles, refusal } from "../../../test/helpers/checkpoint.js";
import { GGUF_PAIR as P, ggufFixture, ggufPair as pair } from "../../../test/helpers/gguf.js";
import { openCheckpoint } from "../checkpoint.js";
import type { Checkpoint, TensorEntry } from "../checkpoint.js";
import { isGgmlType } from "../../formats/container.js";
import { fromFloat32, toFloat32 } from "../../formats/dtypes.js";
import type { FloatDtype } from "../../formats/dtypes.js";
import { dequantizeBlocks } from "../../formats/ggml-blocks.js";
import { openGguf } from "../gguf/gguf.js";
import { bytesSource, memoryFiles, readRange } from "../source.js";
import { findGgufPair, openGgufLlm, openGgufPair } from "./gguf.js";

const { encoder: ENCODER, llm: LLM } = P;

const whole = (checkpoint: Checkpoint, entry: TensorEntry): Promise<Uint8Array> =>
  checkpoint.read(entry, 0, entry.byteLength);

// Plan: FunASR's exporter and llama.cpp's converter made the pair from the tiny transformers
// checkpoint. It has the same config and tensors: f16 matrices of the encoder, f32 norms, biases
// and FSMN taps, bf16 matrices of the LLM.
describe("a pair made from a transformers checkpoint", () => {
  test("has its config, with FunASR's rule for audio tokens", async () => {
    const hf = await openCheckpoint(memoryFiles("hf", fixtureFiles("tiny")));
    const gguf = await openCheckpoint(pair());
    expect(gguf.layout).toBe("gguf");
    expect({ ...gguf.config, raw: {} }).toEqual({ ...hf.config, raw: {}, audioTokenRule: "low_frame_rate" });
    expect(gguf.configFile).toBe(`m/${LLM}`);
    expect(gguf.notes).toHaveLength(2);
    expect(gguf.metadata.get("qwen3.block_count")).toBe("2");
    expect(gguf.metadata.get("tokenizer.ggml.tokens")).toBe("an array of 24 string");
  });

  test("has its tensors", async () => {
    const hf = await openCheckpoint(memoryFiles("hf", fixtureFiles("tiny")));
    const gguf = await openCheckpoint(pair());
    expect([...gguf.tensors.keys()].sort()).toEqual([...hf.tensors.keys()].sort());
    expect(gguf.parameterCount).toBe(hf.parameterCount);
    const dtypes = new Set<string>();
    for (const entry of gguf.tensors.values()) {
      const other = hf.tensors.get(entry.name)!;
      expect([entry.name, entry.shape]).toEqual([other.name, other.shape]);
      const want = toFloat32(await whole(hf, other), other.dtype);
      const got = await whole(gguf, entry);
      expect([
        entry.name,
        Buffer.from(got).equals(Buffer.from(fromFloat32(want, entry.dtype as FloatDtype))),
      ]).toEqual([entry.name, true]);
      dtypes.add(
        `${entry.name.startsWith("model.language_model") ? "llm" : "audio"} ${entry.shape.length}-D ${entry.dtype}`,
      );
    }
    expect([...dtypes].sort()).toEqual([
      "audio 1-D F32",
      "audio 2-D F16",
      "audio 3-D F32",
      "llm 1-D F32",
      "llm 2-D BF16",
    ]);
  });

  test("fused q, k and v are rows of one tensor; FSMN taps are transposed", async () => {
    const gguf = await openCheckpoint(pair());
    const at = "model.audio_tower.layers.2.self_attn";
    const entries = ["q", "k", "v"].map((p) => gguf.tensors.get(`${at}.${p}_proj.weight`)!);
    expect(entries.map((e) => [e.sourceName, e.offset, e.shape])).toEqual(
      [0, 128, 256].map((o) => ["audio_encoder.encoders.1.self_attn.linear_q_k_v.weight", o, [8, 8]]),
    );
    const taps = gguf.tensors.get(`${at}.fsmn.conv.weight`)!;
    const file = await openGguf(bytesSource(ENCODER, ggufFixture(`pair/${ENCODER}`)));
    const stored = file.tensors.get(taps.sourceName)!;
    expect([taps.shape, stored.shape]).toEqual([
      [8, 1, 3],
      [3, 8],
    ]);
    const raw = toFloat32(await readRange(file.source, stored, 0, stored.byteLength), "F32");
    const want = Float32Array.from({ length: 24 }, (_, i) => raw[(i % 3) * 8 + Math.floor(i / 3)]);
    expect(toFloat32(await whole(gguf, taps), "F32")).toEqual(want);
    expect(toFloat32(await gguf.read(taps, 20, 8), "F32")).toEqual(want.slice(5, 7));
    expect(want).not.toEqual(raw);
  });

  test("assets: front-end, tokenizer, stop token, FunASR's prompt", async () => {
    const { assets } = await openCheckpoint(pair());
    expect((await assets.frontend()).json).toEqual({
      num_mel_bins: 4,
      num_frames_lfr: 2,
      stride_lfr: 1,
      waveform_scale: 32768,
      dither: 0,
    });
    expect((await assets.generation()).json).toEqual({ eos_token_id: 6 });
    expect((await assets.tokenizer()).file).toBe(`m/${LLM}`);
    expect(await assets.prompt()).toEqual({});
  });
});

// Plan: an LLM that stores its tied head, as the official 0.6B files do, and one with another head.
describe("the head", () => {
  const headFile = "qwen3-tiny-head-bf16.gguf";

  test("with the embedding's bits is ignored", async () => {
    const { config, ignored, tensors } = await openCheckpoint(pair({ [LLM]: ggufFixture(headFile) }));
    expect(config.llm.tiedHead).toBe(true);
    expect(ignored.map((t) => t.sourceName)).toEqual(["output.weight"]);
    expect(tensors.has("lm_head.weight")).toBe(false);
  });

  test("with one other bit is used", async () => {
    const bytes = ggufFixture(headFile);
    const file = await openGguf(bytesSource("x", bytes));
    const head = file.tensors.get("output.weight")!;
    bytes[head.offset + head.byteLength - 1] ^= 1;
    const { config, ignored, tensors } = await openCheckpoint(pair({ [LLM]: bytes }));
    expect([config.llm.tiedHead, ignored.length, tensors.has("lm_head.weight")]).toEqual([false, 0, true]);
  });
});

// Plan: a Q8_0 encoder, whose fused projections are split between blocks, and an LLM of K-quants.
// Every entry is compared with its stored tensor.
describe("quantised files", () => {
  const files = memoryFiles(
    "q",
    new Map(["funasr-encoder-q8_0.gguf", "qwen3-tiny-q4km.gguf"].map((n) => [n, ggufFixture(n)])),
  );

  test("have the types of their blocks", async () => {
    const checkpoint = await openCheckpoint(files);
    const kinds = new Map<string, number>();
    for (const { dtype } of checkpoint.tensors.values()) kinds.set(dtype, (kinds.get(dtype) ?? 0) + 1);
    expect(Object.fromEntries(kinds)).toEqual({ F32: 47, Q8_0: 19, Q4_K: 3, Q5_K: 2, Q6_K: 1 });
    expect(checkpoint.config.llm).toMatchObject({ hiddenSize: 256, tiedHead: true, vocabSize: 324 });
    expect(checkpoint.config.adaptor.layers).toBe(0);
  });

  test("parts of a fused projection are rows of the stored tensor", async () => {
    const checkpoint = await openCheckpoint(files);
    const parts = ["q", "k", "v"].map((p) =>
      checkpoint.tensors.get(`model.audio_tower.layers.1.self_attn.${p}_proj.weight`)!,
    );
    expect(parts.map((t) => [t.dtype, t.offset, t.byteLength, t.shape])).toEqual(
      [0, 1, 2].map((i) => ["Q8_0", i * 32 * 34, 32 * 34, [32, 32]]),
    );
    const file = await openGguf(bytesSource("x", ggufFixture("funasr-encoder-q8_0.gguf")));
    const stored = file.tensors.get(parts[0].sourceName)!;
    const rows = dequantizeBlocks(await readRange(file.source, stored, 0, stored.byteLength), "Q8_0");
    const joined = await Promise.all(
      parts.map(async (t) => [...dequantizeBlocks(await whole(checkpoint, t), "Q8_0")]),
    );
    expect(joined.flat()).toEqual([...rows]);
  });

  test("every entry is a whole number of blocks", async () => {
    const checkpoint = await openCheckpoint(files);
    for (const entry of checkpoint.tensors.values()) {
      if (!isGgmlType(entry.dtype)) continue;
      const values = dequantizeBlocks(await whole(checkpoint, entry), entry.dtype);
      expect(values).toHaveLength(entry.shape.reduce((a, b) => a * b, 1));
      expect(values.every((v) => Number.isFinite(v))).toBe(true);
    }
  });

  test("the LLM alone", async () => {
    const { config, container, template } = await openGgufLlm(files, "qwen3-tiny-q4km.gguf");
    expect(config).toMatchObject({
      layers: 1,
      heads: 2,
      kvHeads: 1,
      headDim: 32,
      rmsNormEps: 1e-6,
      ropeTheta: 1e6,
    });
    expect(container.tensors.size).toBe(13);
    expect(template).toContain("messages");
    await container.close();
  });
});

// Plan: the files of a pair.
describe("findGgufPair", () => {
  test.each([
    [
      ["fsmn-vad.gguf", "FunASR-Encoder-f16.gguf", "qwen3-0.6b-q8_0.gguf"],
      ["FunASR-Encoder-f16.gguf", "qwen3-0.6b-q8_0.gguf"],
    ],
  ])("%j", (names, want) => {
    expect(Object.values(findGgufPair("m", names))).toEqual(want);
  });

  test.each([
    [
      ["qwen3-a.gguf"],
      "m: funasr-encoder-*.gguf: expected one such file, got none; download both files of the pair",
    ],
    [
      ["funasr-encoder.gguf"],
      "m: qwen3-*.gguf: expected one such file, got none; download both files of the pair",
    ],
    [
      ["funasr-encoder.gguf", "qwen3-b.gguf", "qwen3-a.gguf"],
      "m: qwen3-*.gguf: expected one such file, got qwen3-a.gguf, qwen3-b.gguf; name the file that is meant, or keep one",
    ],
  ])("%j is refused", async (names, message) => {
    expect((await refusal(() => findGgufPair("m", names))).message).toBe(message);
  });

  test("a given pair may have any names", async () => {
    const files = memoryFiles(
      "m",
      new Map([
        ["a.gguf", ggufFixture(`pair/${ENCODER}`)],
        ["b.gguf", ggufFixture(`pair/${LLM}`)],
      ]),
    );
    const { container } = await openGgufPair(files, { encoder: "a.gguf", llm: "b.gguf" });
    expect(new Set([...container.tensors.values()].map((t) => t.file))).toEqual(
      new Set(["a.gguf", "b.gguf"]),
    );
    const swapped = await refusal(() => openGgufPair(files, { encoder: "b.gguf", llm: "a.gguf" }));
    expect(swapped.message).toBe(
      'm/b.gguf: metadata "general.architecture": expected "funasr-sensevoice-encoder", got "qwen3"; is this the right file?',
    );
  });

  test("GGUF beside safetensors is refused", async () => {
    const error = await refusal(() => openCheckpoint(pair({ "model.safetensors": new Uint8Array(8) })));
    expect(error.message).toMatch(
      /^m: weights: expected one form of them, got model\.safetensors beside funasr-encoder-f16\.gguf; /,
    );
  });
});
