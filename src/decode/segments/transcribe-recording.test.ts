import { describe, expect, test } from "vitest";
import { GpuError } from "../../gpu/errors.js";
import { PromptError } from "../../tokenizer/errors.js";
import type { PreparedClip, Transcription } from "../transcriber.js";
import { longestSegment, transcribeAlone } from "./transcribe-recording.js";

// Plan: a segment has what fits the model up to 30 s; less than 2 s is refused by one line.
test.each([
  [100, 30_000],
  [30, 30_000],
  [12.345, 12_340],
  [2, 2000],
])("of %d s a segment has %i ms", (seconds, ms) => {
  expect(longestSegment(seconds)).toBe(ms);
});

test.each([
  [0, 0],
  [0.06, 0.06],
  [1.999, 1.99],
])("%d s are refused", (seconds, shown) => {
  expect(() => longestSegment(seconds)).toThrow(PromptError);
  expect(() => longestSegment(seconds)).toThrow(
    `prompt: text: expected room for 2 s of audio in the model's positions, got room for ${shown} s beside the text; shorten the context or the hotwords`,
  );
});

// Plan: a batch that fails is run clip by clip, but not where every clip would fail as the batch.
describe("transcribeAlone", () => {
  const clips = ["a", "b", "c"].map((name) => ({ name }) as PreparedClip);
  const failing = (
    error: Error,
  ): { run: (some: readonly PreparedClip[]) => Promise<Transcription[]>; sizes: number[] } => {
    const sizes: number[] = [];
    const run = (some: readonly PreparedClip[]): Promise<Transcription[]> => {
      sizes.push(some.length);
      if (some.length > 1) return Promise.reject(error);
      return Promise.resolve(some.map(({ name }) => ({ text: name }) as Transcription));
    };
    return { run, sizes };
  };

  test("runs each clip where memory is out", async () => {
    const { run, sizes } = failing(new GpuError("out of device memory"));
    const results = await transcribeAlone(clips, run);
    expect(results.map(({ text }) => text)).toEqual(["a", "b", "c"]);
    expect(sizes).toEqual([3, 1, 1, 1]);
  });

  test.each([
    ["a lost device", new GpuError("the device is lost: x; open another", { lost: true }), undefined],
    ["an abort", new DOMException("aborted", "AbortError"), undefined],
    ["an abort with a reason", new Error("closed by the user"), AbortSignal.abort()],
  ])("runs none again after %s", async (_, error, signal) => {
    const { run, sizes } = failing(error);
    await expect(transcribeAlone(clips, run, signal)).rejects.toBe(error);
    expect(sizes).toEqual([3]);
  });
});
