import { describe, expect, it } from "vitest";
import { type PreparedClip, Transcriber } from "../src/decode/transcriber.js";
import { GpuError } from "../src/gpu/errors.js";
import type { Gpu } from "../src/gpu/device.js";
import { KvCache } from "../src/model/kv-cache.js";
import { adapt, encode, promptEmbeddings } from "../src/model/fun-asr-nano.js";
import { lmHead, qwen3 } from "../src/model/qwen3.js";
import { openDevice } from "../src/node/device.js";
import { lowerLimits } from "./gpu.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";

interface Outcome {
  readonly pieces: { embedding: number; head: number };
  readonly logits: Uint32Array;
  readonly tokenIds: readonly (readonly number[])[];
}

const rowBytes = 2 * 64; // a row of the tiny vocabulary's matrix: bf16, width 64

async function withDevice<T>(limit: number | undefined, use: (gpu: Gpu) => Promise<T>): Promise<T> {
  const { gpu } = await openDevice();
  if (limit !== undefined) lowerLimits(gpu, { maxStorageBufferBindingSize: limit, maxBufferSize: limit });
  try {
    return await use(gpu);
  } finally {
    gpu.destroy();
  }
}

/** Logits of one prompt's rows, as raw bits. */
async function prefill(gpu: Gpu, { model }: Transcriber, clip: PreparedClip): Promise<Uint32Array> {
  const ids = [1033, 1, 530, 1061, ...new Array<number>(clip.frames).fill(1035), 1034, 0];
  const prompt = { ids, audioOffset: 4, audioLength: clip.frames };
  const cache = new KvCache(gpu, model.config.llm, [ids.length]);
  try {
    const [logits] = await gpu.step(() => {
      const states = encode(gpu, model, { features: clip.features, frames: [clip.frames] });
      const embeds = promptEmbeddings(gpu, model, [prompt], adapt(gpu, model, states, [clip.frames]));
      return [lmHead(gpu, model.llm, qwen3(gpu, model.llm, embeds, cache.append([ids.length]), cache))];
    });
    return new Uint32Array(logits.buffer);
  } finally {
    cache.free();
  }
}

async function transcribe(tied: boolean, limit?: number): Promise<Outcome> {
  return withDevice(limit, async (gpu) => {
    const transcriber = await Transcriber.load(gpu, await tinyModel({ tied, seed: 5 }));
    const clips = [0.4, 0.9].map((seconds, i) => transcriber.prepare(noiseClip(seconds, i), `${i}`));
    const results = await transcriber.transcribe(clips, { maxNewTokens: 20 });
    const { embedTokens, lmHead: head } = transcriber.model.llm;
    return {
      pieces: { embedding: embedTokens.pieces.length, head: head.pieces.length },
      logits: await prefill(gpu, transcriber, clips[0]),
      tokenIds: results.map(({ tokenIds }) => tokenIds),
    };
  });
}

// Plan: on a device whose bindings hold a fraction of the embedding and the head, both lie in
// several pieces, evenly cut or not, and logits and tokens have the same bits as in one piece.
// 133,376 bytes are 1,042 of the 1,064 rows.
describe("matrices larger than one binding", () => {
  it.each([
    ["tied", 532 * rowBytes, 2],
    ["tied", 1042 * rowBytes, 2],
    ["untied", 500 * rowBytes + 100, 3],
  ])("%s head, bindings of %i bytes", async (head, limit, pieces) => {
    const whole = await transcribe(head === "tied");
    const cut = await transcribe(head === "tied", limit);
    expect(whole.pieces).toEqual({ embedding: 1, head: 1 });
    expect(cut.pieces).toEqual({ embedding: pieces, head: pieces });
    expect(cut.tokenIds).toEqual(whole.tokenIds);
    expect(cut.logits.length).toBe(whole.logits.length);
    expect(cut.logits.findIndex((bits, i) => bits !== whole.logits[i])).toBe(-1);
  });
});

// Plan: what no cutting helps is refused in one line, and nothing stays on the device.
describe("limits that are too low", () => {
  const refusal = (error: unknown): string => {
    expect(error).toBeInstanceOf(GpuError);
    const { message } = error as GpuError;
    expect(message).not.toMatch(/[\r\n]/);
    return message;
  };

  it("a row that no binding holds", async () => {
    await withDevice(64, async (gpu) => {
      const error: unknown = await Transcriber.load(gpu, await tinyModel()).catch((e: unknown) => e);
      expect(refusal(error)).toMatch(/buffer holds 64|binding limit of 64/);
      expect(gpu.bytes.kept).toBe(0);
    });
  });

  it("activations that no binding holds name kernel and size", async () => {
    await withDevice(70_000, async (gpu) => {
      const transcriber = await Transcriber.load(gpu, await tinyModel());
      const kept = gpu.bytes.kept;
      const clip = transcriber.prepare(noiseClip(3, 1), "long");
      const error: unknown = await transcriber.transcribe([clip]).catch((e: unknown) => e);
      expect(refusal(error)).toMatch(
        /^[a-z-]+\/[a-z-]+: \w+ \[\d+, \d+\] takes \d+ bytes, one storage binding holds 70000/,
      );
      expect(gpu.bytes).toMatchObject({ kept, live: 0 });
    });
  });
});
