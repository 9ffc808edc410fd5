import { afterAll, beforeAll, expect, test } from "vitest";
import { useGpu } from "../../../test/gpu.js";
import { noiseClip, tinyModel } from "../../../test/helpers/tiny-model.js";
import { type PreparedClip, Transcriber } from "../transcriber.js";
import { TranscriptionEngine } from "./engine.js";
import { DeadlineError, EngineClosedError, QueueFullError } from "./errors.js";

const gpu = useGpu();
let transcriber: Transcriber;
let clips: PreparedClip[];

beforeAll(async () => {
  transcriber = await Transcriber.load(gpu(), await tinyModel({ seed: 5 }));
  clips = [0.3, 0.8, 0.5].map((seconds, i) => transcriber.prepare(noiseClip(seconds, i), `${i}`));
});
afterAll(() => transcriber.free());

// Plan: requests that come together have the results that they have alone; each way in which a
// request ends without one.
test("requests have the results that they have alone", async () => {
  const engine = new TranscriptionEngine(transcriber);
  const pieces = clips.map((): string[] => []);
  const results = await Promise.all(
    clips.map((clip, i) =>
      engine.submit(clip, { maxNewTokens: 9 + i, onText: (text) => pieces[i].push(text) }),
    ),
  );
  for (const [i, { tokenIds, text, finish }] of results.entries()) {
    const [alone] = await transcriber.transcribe([clips[i]], { maxNewTokens: 9 + i });
    expect({ tokenIds, text, finish }).toEqual({
      tokenIds: alone.tokenIds,
      text: alone.text,
      finish: alone.finish,
    });
    expect(pieces[i].join("").trim()).toBe(text);
  }
  expect(engine.stats).toMatchObject({
    queued: 0,
    rows: 0,
    finished: 3,
    failed: 0,
    cancelled: 0,
    refused: 0,
  });
  await engine.close();
});

test("a full queue refuses, or is waited for", async () => {
  const engine = new TranscriptionEngine(transcriber, { maxQueue: 2, maxRows: 1 });
  const options = { maxNewTokens: 3 };
  const taken = [0, 1, 2].map(() => engine.submit(clips[0], options));
  await Promise.resolve();
  const late = engine.submit(clips[0], { ...options, waitForRoom: true });
  const settled = await Promise.allSettled([...taken, late, engine.submit(clips[0], options)]);
  const refusals = settled.map((result) =>
    result.status === "rejected" ? (result.reason as unknown) : undefined,
  );
  expect(refusals.slice(0, 4)).toEqual(new Array(4).fill(undefined));
  expect(refusals[4]).toBeInstanceOf(QueueFullError);
  expect((refusals[4] as QueueFullError).retryAfterSeconds).toBeGreaterThanOrEqual(1);
  expect(engine.stats).toMatchObject({ finished: 4, refused: 1 });
  await engine.close();
});

test("a signal, a deadline, the end of the engine, and an option out of range end a request", async () => {
  const engine = new TranscriptionEngine(transcriber);
  const abort = new AbortController();
  const gone = engine.submit(clips[0], { signal: abort.signal });
  abort.abort(new Error("the client went away"));
  await expect(gone).rejects.toThrow("the client went away");
  await expect(engine.submit(clips[0], { signal: abort.signal })).rejects.toThrow("the client went away");
  await expect(engine.submit(clips[1], { timeoutMs: 1, maxNewTokens: 2000 })).rejects.toThrow(DeadlineError);
  await expect(engine.submit(clips[1], { maxNewTokens: 0 })).rejects.toThrow(
    "expected a whole number from 1, got 0",
  );
  const closed = expect(engine.submit(clips[2])).rejects.toThrow(EngineClosedError);
  await engine.close();
  await closed;
  await expect(engine.submit(clips[2])).rejects.toThrow(EngineClosedError);
  expect(gpu().bytes.live).toBe(0);
});
