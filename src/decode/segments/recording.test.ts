import { describe, expect, test, vi } from "vitest";
import { concatenated } from "../../frontend/audio.js";
import type { PreparedClip, Transcription } from "../transcriber.js";
import { DetectedSpeech, GivenSpeech, type SilenceStream } from "./feed.js";
import {
  Recording,
  type RecordingOptions,
  type SegmentDecoder,
  type TranscriptSegment,
  silencesOf,
} from "./recording.js";

// Plan: with a net that hears samples of 1 as speech and a decoder that names what it gets: the
// segments, their samples and their texts are the same for samples in pieces of any size; they come
// in order, in batches within the tokens; doubted texts are decoded again, in shorter pieces, then
// with a penalty; joined neighbours whose text the CTC head does not hear are decoded apart, and a
// text of which it hears nothing is left out; every second is in a segment or a silence; old samples are dropped.

const rate = 16_000;

/** Speech (1) and silence (0) by turns, in seconds. */
function audio(...seconds: number[]): Float32Array {
  return Float32Array.from(seconds.flatMap((s, i) => new Array<number>(Math.round(s * rate)).fill(i % 2)));
}

/** A net whose frame is speech where its first sample is 1. */
function net(): SilenceStream {
  let samples: Float32Array = new Float32Array(0);
  let frame = 0;
  return {
    push(more) {
      samples = concatenated([samples, more]);
      const silence: number[] = [];
      for (; frame * 160 + 400 <= samples.length; frame++)
        silence.push(samples[frame * 160] === 1 ? 0.01 : 0.99);
      return Promise.resolve({ silence: Float32Array.from(silence) });
    },
    free: () => undefined,
  };
}

type Answer = Pick<Transcription, "text"> & Partial<Transcription>;

/** A decoder whose clips are their samples. */
class Decoder implements SegmentDecoder {
  readonly sampleRate = rate;
  readonly batches: { readonly seconds: number[]; readonly penalty: number | undefined }[] = [];

  constructor(private readonly answer: (seconds: number, penalty: number | undefined) => Answer) {}

  prepare(samples: Float32Array, name: string): PreparedClip {
    const seconds = samples.length / rate;
    return {
      name,
      features: samples,
      frames: Math.ceil(seconds / 0.06),
      audioSeconds: seconds,
      frontendSeconds: 0,
    };
  }

  audioTokens({ frames }: PreparedClip): number {
    return frames;
  }

  transcribe(
    clips: readonly PreparedClip[],
    { repetitionPenalty }: { repetitionPenalty?: number },
  ): Promise<Transcription[]> {
    this.batches.push({ seconds: clips.map(({ audioSeconds }) => audioSeconds), penalty: repetitionPenalty });
    const seconds = { frontend: 0, encoder: 0, adaptor: 0, prefill: 0, decode: 0 };
    return Promise.resolve(
      clips.map(({ audioSeconds }) => ({
        finish: "stop",
        tokenIds: [1],
        audioSeconds,
        seconds,
        ...this.answer(audioSeconds, repetitionPenalty),
      })),
    );
  }
}

async function transcribed(
  samples: Float32Array,
  piece: number,
  decoder: Decoder,
  mergeMs = 0,
  more: Partial<RecordingOptions> = {},
): Promise<TranscriptSegment[]> {
  const found: TranscriptSegment[] = [];
  const feed = new DetectedSpeech(net(), { maxEndSilenceMs: 800, maxSegmentMs: 86_400_000 });
  const options = {
    mergeMs,
    maxMs: 10_000,
    batch: 8,
    batchTokens: 200,
    onSegment: (s: TranscriptSegment) => found.push(s),
    ...more,
  };
  const recording = new Recording("x", feed, decoder, options);
  for (let at = 0; at < samples.length; at += piece) await recording.push(samples.subarray(at, at + piece));
  expect(await recording.end()).toBe(samples.length / rate);
  return found;
}

const spoken = audio(1, 3, 1.2, 2, 2, 25, 1.2, 0.5, 12);
const named = (): Decoder => new Decoder((seconds) => ({ text: `of ${seconds.toFixed(2)}` }));

test("segments do not depend on the pieces that the samples come in", async () => {
  const whole = await transcribed(spoken, Infinity, named());
  expect(whole.length).toBeGreaterThan(5);
  for (const piece of [160_000, 77_777]) expect(await transcribed(spoken, piece, named())).toEqual(whole);
});

test("batches hold neighbours up to the tokens, and joined segments are fewer", async () => {
  const decoder = named();
  const apart = await transcribed(spoken, 160_000, decoder);
  for (const { seconds } of decoder.batches)
    expect(seconds.length === 1 || seconds.reduce((a, b) => a + b, 0) <= 200 * 0.06).toBe(true);
  expect(decoder.batches.some(({ seconds }) => seconds.length > 1)).toBe(true);
  expect((await transcribed(spoken, 160_000, named(), 10_000)).length).toBeLessThan(apart.length);
});

test("every second is in a segment or a silence", async () => {
  const segments = await transcribed(spoken, 160_000, named());
  const seconds = spoken.length / rate;
  const all = [...segments, ...silencesOf(segments, seconds)].sort((a, b) => a.start - b.start);
  expect(all[0].start).toBe(0);
  for (const [i, { start }] of all.entries()) if (i > 0) expect(start).toBe(all[i - 1].end);
  expect(all.at(-1)!.end).toBe(seconds);
});

test("silence gives no segment, and marks of silence no text", async () => {
  expect(await transcribed(audio(5), Infinity, named())).toEqual([]);
  const [segment] = await transcribed(audio(1, 3, 1), Infinity, new Decoder(() => ({ text: "/sil" })));
  expect(segment.text).toBe("");
});

describe("a doubted text", () => {
  const speech = audio(0.5, 5, 1.5);

  test("of a loop comes from shorter pieces", async () => {
    const decoder = new Decoder((seconds) =>
      seconds > 4.5 ? { text: "no", finish: "loop" } : { text: "yes" },
    );
    const [segment] = await transcribed(speech, Infinity, decoder);
    expect(segment).toMatchObject({ text: "yes yes", finish: "stop", tokenIds: [1, 1] });
    expect(segment.retries).toEqual([{ reason: "loop", method: "shorter pieces", used: true }]);
  });

  test("that stays doubted comes from a penalty", async () => {
    const decoder = new Decoder((_, penalty) =>
      penalty === undefined ? { text: "no", finish: "length" } : { text: "yes" },
    );
    const [segment] = await transcribed(speech, Infinity, decoder);
    expect(segment).toMatchObject({ text: "yes", finish: "stop" });
    expect(segment.retries).toEqual([
      { reason: "length", method: "shorter pieces", used: false },
      { reason: "length", method: "repetition penalty", used: true },
    ]);
  });

  test("that nothing helps stays as it is", async () => {
    const [segment] = await transcribed(
      speech,
      Infinity,
      new Decoder(() => ({ text: "no", finish: "loop" })),
    );
    expect(segment).toMatchObject({ text: "no", finish: "loop" });
    expect(segment.retries!.map(({ used }) => used)).toEqual([false, false]);
  });
});

describe("with a CTC head", () => {
  const heard = (text: string, ctcText: string, agreement: number, confidence: number): Answer => ({
    text,
    ctcText,
    agreement,
    words: [{ text, start: 0.1, end: 0.4, confidence }],
  });
  /** Two neighbours of 3 and 2 s with a silence of 1.2 s, of which the segments' margins take half. */
  const neighbours = audio(1, 3, 1.2, 2, 2);

  test("a text of which it hears nothing is left out and kept beside", async () => {
    const decoder = new Decoder((seconds) =>
      seconds > 3 ? heard("invented words here", "", 0, 0.01) : heard("yes", "yes", 1, 1),
    );
    const [first, second] = await transcribed(neighbours, Infinity, decoder);
    expect(first).toMatchObject({ text: "", tokenIds: [], finish: "no-speech", agreement: 0 });
    expect(first).toMatchObject({ dropped: "invented words here" });
    expect(first).not.toHaveProperty("words");
    expect(second).toMatchObject({ text: "yes", finish: "stop", agreement: 1 });
    expect(second).not.toHaveProperty("dropped");
  });

  test("joined neighbours are decoded apart where it hears another text", async () => {
    const decoder = new Decoder((seconds) =>
      seconds > 5 ? heard("no", "one two", 0.1, 0.9) : heard(`of ${Math.floor(seconds)}`, "x", 0.9, 0.9),
    );
    const segments = await transcribed(neighbours, Infinity, decoder, 10_000);
    expect(segments).toHaveLength(1);
    expect(segments[0]).toMatchObject({ text: "of 3 of 2", finish: "stop", agreement: 0.9 });
    expect(segments[0].retries).toEqual([{ reason: "agreement", method: "shorter pieces", used: true }]);
    const [one, two] = segments[0].words!;
    expect(one.start).toBeCloseTo(segments[0].start + 0.1, 3);
    expect(two.start).toBeGreaterThan(4);
  });

  test("joined neighbours keep their text where it is no better apart, or where it agrees", async () => {
    const worse = new Decoder((seconds) =>
      heard(seconds > 5 ? "no" : "bad", "x", seconds > 5 ? 0.5 : 0.4, 0.9),
    );
    const [segment] = await transcribed(neighbours, Infinity, worse, 10_000);
    expect(segment).toMatchObject({ text: "no", agreement: 0.5 });
    expect(segment.retries).toEqual([{ reason: "agreement", method: "shorter pieces", used: false }]);
    const agrees = new Decoder(() => heard("yes", "yes", 0.9, 0.9));
    expect((await transcribed(neighbours, Infinity, agrees, 10_000))[0]).not.toHaveProperty("retries");
    expect(agrees.batches).toHaveLength(1);
  });

  test("a part of joined neighbours of which it hears nothing is left out", async () => {
    const decoder = new Decoder((seconds) => {
      if (seconds > 5) return heard("no", "one two", 0.2, 0.9);
      return seconds > 3 ? heard("yes", "yes", 1, 1) : heard("invented words here", "", 0, 0.01);
    });
    const [segment] = await transcribed(neighbours, Infinity, decoder, 10_000);
    expect(segment).toMatchObject({ text: "yes", finish: "stop", dropped: "invented words here" });
  });
});

describe("segments that the user gave", () => {
  const refuse = (): never => {
    throw new Error("past the end");
  };

  async function given(segments: [number, number][]): Promise<TranscriptSegment[]> {
    const found: TranscriptSegment[] = [];
    const feed = new GivenSpeech(segments.map(([startMs, endMs]) => ({ startMs, endMs, refuse })));
    const options = {
      mergeMs: 0,
      maxMs: Infinity,
      batch: 8,
      batchTokens: 200,
      onSegment: (s: TranscriptSegment) => found.push(s),
    };
    const recording = new Recording("x", feed, named(), options);
    for (let at = 0; at < 5 * rate; at += rate) await recording.push(new Float32Array(rate));
    await recording.end();
    return found;
  }

  test("are as they are, up to the audio's end", async () => {
    const found = await given([
      [100, 900],
      [1000, 3500],
      [4000, 5040],
    ]);
    expect(found.map(({ start, end, text }) => [start, end, text])).toEqual([
      [0.1, 0.9, "of 0.80"],
      [1, 3.5, "of 2.50"],
      [4, 5, "of 1.00"],
    ]);
  });

  test("past the audio's end are refused", async () => {
    await expect(given([[4000, 5200]])).rejects.toThrow("past the end");
    await expect(given([[5000, 5050]])).rejects.toThrow("past the end");
  });

  test.each<[string, [number, number][]]>([
    ["reversed", [[2000, 1000]]],
    ["negative", [[-1, 1000]]],
    ["NaN", [[NaN, 1000]]],
    [
      "overlapping",
      [
        [0, 1000],
        [900, 2000],
      ],
    ],
  ])("that are %s are refused", (_, segments) => {
    expect(() => new GivenSpeech(segments.map(([startMs, endMs]) => ({ startMs, endMs })))).toThrow(
      /GivenSpeech: segments\[\d\]: expected a begin from \d+ ms on/,
    );
  });

  test("without a refusal of their own have an ArgumentError", () => {
    const feed = new GivenSpeech([{ startMs: 0, endMs: 2000 }]);
    expect(() => feed.checkEnd(1000)).toThrow(
      "segments[0]: expected an end within the audio's 1000 ms, got 2000",
    );
    feed.checkEnd(1900);
  });
});

test("one long block is worked on in parts: what is done is dropped before the rest is heard", async () => {
  let [pushed, most] = [0, 0];
  const feed = new DetectedSpeech(net(), { maxEndSilenceMs: 800, maxSegmentMs: 86_400_000 });
  const counted = {
    push: (samples: Float32Array) => {
      pushed += samples.length;
      return feed.push(samples);
    },
    end: () => feed.end(),
    get pendingMs() {
      return feed.pendingMs;
    },
    get open() {
      return feed.open;
    },
    speech: (from: number, to: number) => feed.speech(from, to),
    forget: (before: number) => feed.forget(before),
  };
  const found: TranscriptSegment[] = [];
  const options = { mergeMs: 0, maxMs: 10_000, batch: 1, batchTokens: 200 };
  const recording = new Recording("x", counted, named(), {
    ...options,
    onSegment: (segment) => {
      found.push(segment);
      most = Math.max(most, pushed / rate - segment.end);
    },
  });
  await recording.push(audio(...Array.from({ length: 60 }, () => 2)));
  await recording.end();
  expect(found.length).toBe(30);
  expect(most).toBeLessThan(25);
});

test("segments that are known are given out in their order, and not decoded", async () => {
  const decoder = named();
  const whole = await transcribed(spoken, 160_000, decoder);
  const known = new Map(whole.slice(0, 3).map((segment) => [segment.start, { ...segment, text: "known" }]));
  const again = named();
  const found = await transcribed(spoken, 160_000, again, 0, {
    known: ({ startMs }) => known.get(startMs / 1000),
  });
  expect(found.map(({ start, end }) => [start, end])).toEqual(whole.map(({ start, end }) => [start, end]));
  expect(found.map(({ text }) => text)).toEqual(whole.map(({ text }, i) => (i < 3 ? "known" : text)));
  const count = ({ batches }: Decoder): number =>
    batches.reduce((sum, { seconds }) => sum + seconds.length, 0);
  expect(count(again)).toBe(count(decoder) - 3);
});

test.each([
  [undefined, 1.2],
  [1.1, 1.2],
  [0.9, 1.2],
  [1.2, undefined],
  [1.5, undefined],
])("a penalty of %d of the user's becomes %d in a retry", async (repetitionPenalty, wanted) => {
  const decoder = new Decoder(() => ({ text: "no", finish: "loop" }));
  await transcribed(audio(1, 1.5, 2), 160_000, decoder, 0, { repetitionPenalty });
  const penalties = decoder.batches.map(({ penalty }) => penalty).filter((penalty) => penalty !== undefined);
  expect(penalties).toEqual(wanted === undefined ? [] : [wanted]);
});

test("one long segment: no probability is copied as more come, and each can be asked for", async () => {
  const pieces = 40;
  let frames = 0;
  const value = (frame: number): number => (frame < 300 ? 0.99 : (frame % 7) / 100);
  const stream: SilenceStream = {
    push: (samples) => {
      const silence = Float32Array.from({ length: samples.length / 160 }, () => value(frames++));
      return Promise.resolve({ silence });
    },
    free: () => undefined,
  };
  const feed = new DetectedSpeech(stream, { maxSegmentMs: 86_400_000 });
  const piece = new Float32Array(160_000);
  const set = vi.spyOn(Float32Array.prototype, "set");
  for (let i = 0; i < pieces; i++) {
    expect(await feed.push(piece)).toEqual([]);
    feed.forget(feed.pendingMs);
  }
  const copied = set.mock.calls.reduce((sum, [{ length }]) => sum + length, 0);
  set.mockRestore();
  expect(copied).toBe(0);
  for (const [from, to] of [
    [feed.pendingMs, 4000],
    [9990, 10_010],
    [9950, 40_005],
    [399_990, 500_000],
    [20_000, 20_000],
  ]) {
    const first = Math.floor(from / 10);
    const length = Math.min(1000 * pieces, Math.floor(to / 10)) - first;
    const want = Float32Array.from({ length }, (_, i) => 1 - Math.fround(value(first + i)));
    expect(feed.speech(from, to)).toEqual(want);
  }
  feed.forget(25_000);
  expect(feed.speech(25_000, 25_010)).toEqual(Float32Array.of(1 - Math.fround(value(2500))));
});
