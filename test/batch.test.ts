import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PreparedClip, Transcriber, type Transcription } from "../src/decode/transcriber.js";
import type { TensorData } from "../src/gpu/device.js";
import { audioTokens } from "../src/config/model-config.js";
import { type PromptTokens, adapt, encode, promptEmbeddings } from "../src/model/fun-asr-nano.js";
import { KvCache } from "../src/model/kv-cache.js";
import { lmHead, qwen3 } from "../src/model/qwen3.js";
import { useGpu } from "./gpu.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";

/** What the pipeline made of one clip, as raw bits. */
interface Stages {
  readonly encoder: Uint32Array;
  readonly adaptor: Uint32Array;
  readonly logits: Uint32Array;
}

const gpu = useGpu();
const seconds = [0.025, 0.09, 0.18, 0.3, 0.77, 1.31, 2.12, 3.05]; // 1, 2, 3, 5, 13, 22, 36 and 51 frames

async function load(rule: "all" | "low_frame_rate"): Promise<[Transcriber, PreparedClip[]]> {
  const transcriber = await Transcriber.load(gpu(), await tinyModel({ rule, seed: 5 }));
  const clips = seconds.map((length, i) => transcriber.prepare(noiseClip(length, 10 + i), `clip ${i}`));
  return [transcriber, clips];
}

/** A prompt of its own length for each clip. */
function promptOf(clip: PreparedClip, rule: "all" | "low_frame_rate"): PromptTokens {
  const audioLength = audioTokens(rule, clip.frames);
  const before = [1033, 7, ...Array.from({ length: clip.frames % 5 }, (_, i) => 100 + i)];
  const ids = [...before, ...new Array<number>(audioLength).fill(1035), 1034, 11];
  return { ids, audioOffset: before.length, audioLength };
}

function bits(data: TensorData, first: number, last: number, width: number): Uint32Array {
  const rows = data.slice(first * width, last * width);
  return new Uint32Array(rows.buffer);
}

/** Every stage of each clip, from one packed run. */
async function run({ model }: Transcriber, clips: readonly PreparedClip[]): Promise<Stages[]> {
  const { encoder, adaptor, llm, audioTokenRule } = model.config;
  const frames = clips.map((clip) => clip.frames);
  const prompts = clips.map((clip) => promptOf(clip, audioTokenRule));
  const lengths = prompts.map(({ ids }) => ids.length);
  const features = Float32Array.from(clips.flatMap((clip) => [...clip.features]));
  const cache = new KvCache(gpu(), llm, lengths);
  try {
    const [states, audio, logits] = await gpu().step(() => {
      const states = encode(gpu(), model, { features, frames });
      const audio = adapt(gpu(), model, states, frames);
      const embeds = promptEmbeddings(gpu(), model, prompts, audio);
      const hidden = qwen3(gpu(), model.llm, embeds, cache.append(lengths), cache);
      return [states, audio, lmHead(gpu(), model.llm, hidden)];
    });
    let [frame, slot, token] = [0, 0, 0];
    return prompts.map(({ ids, audioLength }, i) => ({
      encoder: bits(states, frame, (frame += frames[i]), encoder.hiddenSize),
      adaptor: bits(audio, slot, (slot += audioLength), adaptor.hiddenSize),
      logits: bits(logits, token, (token += ids.length), llm.vocabSize),
    }));
  } finally {
    cache.free();
  }
}

const orders: readonly [string, readonly number[]][] = [
  ["shortest first", [0, 1, 2, 3, 4, 5, 6, 7]],
  ["longest first", [7, 6, 5, 4, 3, 2, 1, 0]],
  ["mixed", [4, 0, 7, 2, 5, 1, 6, 3]],
  ["the same clip eight times", [5, 5, 5, 5, 5, 5, 5, 5]],
  ["two clips", [1, 6]],
];

// Plan: a clip's encoder, adaptor, prefill and tokens have the same bits alone and in packed
// batches of 8 clips of different lengths, from one frame on, at every place in the batch, for both
// audio-token rules.
describe.each(["all", "low_frame_rate"] as const)("packed batches, audio-token rule %s", (rule) => {
  const options = { language: "en", maxNewTokens: 24 } as const;
  const alone: Stages[] = [];
  const words: Transcription[] = [];
  let transcriber: Transcriber;
  let clips: PreparedClip[];

  beforeAll(async () => {
    [transcriber, clips] = await load(rule);
    for (const clip of clips) {
      alone.push(...(await run(transcriber, [clip])));
      words.push(...(await transcriber.transcribe([clip], options)));
    }
  });
  afterAll(() => transcriber.free());

  it("clips that differ", () => expect(new Set(words.map(({ text }) => text)).size).toBe(clips.length));

  it.each(orders)("%s: stages as alone", async (_, order) => {
    const packed = await run(
      transcriber,
      order.map((i) => clips[i]),
    );
    for (const [place, i] of order.entries()) {
      for (const stage of ["encoder", "adaptor", "logits"] as const) {
        expect(alone[i][stage].length).toBeGreaterThan(0);
        const differing = packed[place][stage].findIndex((value, at) => value !== alone[i][stage][at]);
        expect([stage, i, packed[place][stage].length, differing]).toEqual([
          ...[stage, i, alone[i][stage].length],
          -1,
        ]);
      }
    }
  });

  it.each(orders)("%s: tokens as alone", async (_, order) => {
    const packed = await transcriber.transcribe(
      order.map((i) => clips[i]),
      options,
    );
    for (const [place, i] of order.entries()) {
      const { text, tokenIds, finish, audioSeconds } = words[i];
      expect(packed[place]).toMatchObject({ text, tokenIds, finish, audioSeconds });
    }
  });
});

// Plan: calls that overlap in time do not see each other's buffers.
describe("overlapping calls", () => {
  it("give what they give one after the other", async () => {
    const [transcriber, clips] = await load("all");
    const options = { maxNewTokens: 12 };
    const one = await transcriber.transcribe([clips[4]], options);
    const other = await transcriber.transcribe([clips[6], clips[1]], options);
    const both = await Promise.all([
      transcriber.transcribe([clips[4]], options),
      transcriber.transcribe([clips[6], clips[1]], options),
    ]);
    const ids = (results: typeof one) => results.map(({ tokenIds }) => tokenIds);
    expect(both.map(ids)).toEqual([ids(one), ids(other)]);
    transcriber.free();
    expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
  });

  it("an empty batch is empty", async () => {
    const [transcriber] = await load("all");
    expect(await transcriber.transcribe([])).toEqual([]);
    transcriber.free();
  });
});
