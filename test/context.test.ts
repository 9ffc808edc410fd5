import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { greedy } from "../src/decode/greedy.js";
import { DecodeError, type Decoded } from "../src/decode/loop.js";
import { type PreparedClip, Transcriber } from "../src/decode/transcriber.js";
import { AudioError } from "../src/frontend/errors.js";
import type { Tensor } from "../src/gpu/tensor.js";
import { type PromptTokens, adapt, encode } from "../src/model/fun-asr-nano.js";
import { useGpu } from "./gpu.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";

const gpu = useGpu();

function load(maxPositions: number): Promise<Transcriber> {
  return tinyModel({
    seed: 5,
    editConfig: (config) => ({
      ...config,
      text_config: { ...(config.text_config as object), max_position_embeddings: maxPositions },
    }),
  }).then((files) => Transcriber.load(gpu(), files));
}

/** What a transcription is refused with, before any work for the GPU. */
async function refused(action: () => Promise<unknown>): Promise<Error> {
  const { submits } = gpu().counts;
  const error: unknown = await action().catch((e: unknown) => e);
  expect(error).toBeInstanceOf(Error);
  expect(gpu().counts.submits).toBe(submits);
  return error as Error;
}

const endless: PreparedClip = {
  name: "long.wav",
  features: new Float32Array(),
  frames: 10_000,
  audioSeconds: 600,
  frontendSeconds: 0,
};

// Plan: a clip's answer may be as long as the context has room after its prompt, whatever its
// neighbours ask for; only a prompt that does not fit by itself is refused, by the clip's name.
describe("the model's context", () => {
  let text: number; // tokens of a prompt besides the audio's

  beforeAll(async () => {
    const transcriber = await load(256);
    const { message } = await refused(() => transcriber.transcribe([endless]));
    text = Number(/10000 of audio and (\d+) of text/.exec(message)?.[1]);
    transcriber.free();
  });

  it("a limit past the context is cut to what is left", async () => {
    const transcriber = await load(text + 13 + 10);
    const clip = transcriber.prepare(noiseClip(0.77, 14), "clip"); // 13 frames
    for (const maxNewTokens of [5000, undefined]) {
      const [{ tokenIds, finish }] = await transcriber.transcribe([clip], { maxNewTokens });
      expect([tokenIds.length, finish]).toEqual([10, "length"]);
    }
    transcriber.free();
  });

  it("a neighbour's limit counts for the neighbour alone", async () => {
    const transcriber = await load(text + 36 + 20);
    const clips = [0.025, 2.12, 0.3].map((s, i) => transcriber.prepare(noiseClip(s, i), `${i}`)); // 1, 36, 5 frames
    const together = await transcriber.transcribe(clips);
    for (const [i, clip] of clips.entries()) {
      const [alone] = await transcriber.transcribe([clip]);
      expect(together[i]).toMatchObject({ tokenIds: alone.tokenIds, finish: alone.finish });
    }
    transcriber.free();
  });

  it("a prompt that fills the context is refused by the clip's name; one token less is not", async () => {
    const full = await load(text + 13);
    const clip = full.prepare(noiseClip(0.77, 14), "a.wav");
    const error = await refused(() => full.transcribe([clip]));
    expect(error).toBeInstanceOf(AudioError);
    expect(error.message).toBe(
      `a.wav: prompt: expected fewer tokens than the model's ${text + 13} positions, got 13 of audio and ${text} of text; shorten the context or the hotwords`,
    );
    full.free();
    const room = await load(text + 14);
    expect((await room.transcribe([clip]))[0].tokenIds.length).toBeLessThanOrEqual(1);
    room.free();
  });

  it("says how long a clip may be", async () => {
    const transcriber = await load(text + 101);
    const { message } = await refused(() => transcriber.transcribe([endless]));
    expect(message).toMatch(/^long\.wav: prompt: .*; cut the clip into parts of 6 s at most$/);
    transcriber.free();
  });
});

describe("maxNewTokens", () => {
  it.each([0, -1, 1.5, NaN, Infinity])("%d is refused before any work", async (maxNewTokens) => {
    const transcriber = await load(2048);
    const clip = transcriber.prepare(noiseClip(0.3, 1), "clip");
    const error = await refused(() => transcriber.transcribe([clip], { maxNewTokens }));
    expect(error).toBeInstanceOf(DecodeError);
    expect(error.message).toBe(
      `transcribe: maxNewTokens: expected a whole number from 1, got ${maxNewTokens}`,
    );
    transcriber.free();
  });
});

// Plan: a sequence that ended long before the others stays within its own rows, changes nothing for
// them, and makes no pipeline or bind group of its own.
describe("sequences of different lengths", () => {
  let transcriber: Transcriber;
  beforeAll(async () => (transcriber = await load(2048)));
  afterAll(() => transcriber.free());

  async function decode(seconds: readonly number[], maxNewTokens: readonly number[]): Promise<Decoded[]> {
    const { model } = transcriber;
    const clips = seconds.map((s, i) => transcriber.prepare(noiseClip(s, Math.round(100 * s)), `${i}`));
    const frames = clips.map((clip) => clip.frames);
    const prompts = frames.map((audioLength): PromptTokens => {
      const ids = [1033, 7, ...new Array<number>(audioLength).fill(1035), 1034];
      return { ids, audioOffset: 2, audioLength };
    });
    const features = Float32Array.from(clips.flatMap((clip) => [...clip.features]));
    let audio: Tensor | undefined;
    await gpu().step(() => {
      audio = gpu().hold(adapt(gpu(), model, encode(gpu(), model, { features, frames }), frames));
      return [];
    });
    const options = { stopIds: new Set<number>(), maxNewTokens, guardLoops: false };
    return greedy(gpu(), model, prompts, audio!, options).finally(() => gpu().release(audio!));
  }

  it("each has its own limit, and the words it has alone", async () => {
    const seconds = [0.3, 0.9, 0.025, 1.3];
    const limits = [3, 40, 1, 17];
    const together = await decode(seconds, limits);
    expect(together.map(({ tokenIds }) => tokenIds.length)).toEqual(limits);
    for (const [i, s] of seconds.entries()) expect([together[i]]).toEqual(await decode([s], [limits[i]]));
    const made = async (each: readonly number[]): Promise<number[]> => {
      const { pipelines, bindGroups } = gpu().counts;
      await decode(seconds, each);
      return [gpu().counts.pipelines - pipelines, gpu().counts.bindGroups - bindGroups];
    };
    const [pipelines, bindGroups] = await made([40, 40, 40, 40]);
    expect(await made(limits)).toEqual([0, bindGroups]);
    expect(pipelines).toBe(0);
    expect(gpu().bytes.live).toBe(0);
  });
});
