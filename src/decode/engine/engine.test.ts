import { type MockInstance, afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { random, useGpu } from "../../../test/gpu.js";
import { noiseClip, tinyConfig, tinyModel } from "../../../test/helpers/tiny-model.js";
import { openDevice } from "../../node/device.js";
import { GpuError } from "../../gpu/errors.js";
import { DecodeError } from "../loop.js";
import { type PreparedClip, Transcriber, type Transcription } from "../transcriber.js";
import { TranscriptionEngine } from "./engine.js";
import { DeadlineError, EngineClosedError, QueueFullError } from "./errors.js";
import type { SubmitOptions } from "./options.js";

const families = { subgroups: useGpu(), portable: useGpu({ subgroups: false }) };
const gpu = families.subgroups;
const seconds = [0.3, 0.8, 0.5, 1.7, 0.1, 1.1];
let transcriber: Transcriber;
let clips: PreparedClip[];

beforeAll(async () => {
  transcriber = await Transcriber.load(gpu(), await tinyModel({ seed: 5 }));
  clips = seconds.map((length, i) => transcriber.prepare(noiseClip(length, i), `${i}`));
});
afterAll(() => transcriber.free());
afterEach(() => void vi.restoreAllMocks());

const result = ({ text, tokenIds, finish }: Transcription): unknown => ({ text, tokenIds, finish });
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

/** A clip whose features are NaN: so are its scores. */
function damaged(clip: PreparedClip): PreparedClip {
  return { ...clip, name: "damaged", features: new Float32Array(clip.features.length).fill(NaN) };
}

/** A clip whose features are fewer than its frames: no step takes it. */
function short(clip: PreparedClip): PreparedClip {
  return { ...clip, name: "short", features: clip.features.slice(560) };
}

// Plan: requests of unlike lengths and options that come at random, more than there are rows, with
// pieces smaller than a clip and a KV cache that has to grow: each has the bits that it has alone.
// Damaged clips among them fail alone. With subgroups and without.
describe.each(["subgroups", "portable"] as const)("%s", (family) => {
  test("requests that come at random have the results that they have alone", async () => {
    const device = families[family]();
    const model = await Transcriber.load(device, await tinyModel({ seed: 5 }));
    const next = random(11);
    const below = (count: number): number => Math.floor(((next() + 1) / 2) * count);
    const engine = new TranscriptionEngine(model, { maxRows: 3, maxRead: 24 });
    const requests = Array.from({ length: 24 }, (_, i) => ({
      clip: i % 8 === 5 ? (i === 5 ? short : damaged)(clips[below(6)]) : clips[below(6)],
      options: {
        maxNewTokens: [1, 2, 9, 30, 33, 64, 600][below(7)],
        ...(below(3) === 0 && { repetitionPenalty: 1.3 }),
        ...(below(3) === 0 && { hotwords: ["alpha", "beta"].slice(0, 1 + below(2)) }),
        ...(below(4) === 0 && { language: "en" }),
        ...(below(4) === 0 && { priority: "live" as const }),
      } satisfies SubmitOptions,
    }));
    const got = await Promise.all(
      requests.map(async ({ clip, options }, i) => {
        for (let turns = below(8 * i); turns > 0; turns--) await turn();
        const pieces: string[] = [];
        const answer = await engine
          .submit(clip, { ...options, onText: (text) => pieces.push(text) })
          .catch((error: unknown) => error);
        return { answer, streamed: pieces.join("").trim() };
      }),
    );
    const ended = await Promise.allSettled(
      requests.map(({ clip, options }) => model.transcribe([clip], options)),
    );
    for (const [i, { answer, streamed }] of got.entries()) {
      const alone = ended[i];
      if (alone.status === "rejected") {
        expect(["damaged", "short"]).toContain(requests[i].clip.name);
        expect(answer).toEqual(alone.reason);
        continue;
      }
      expect(result(answer as Transcription), `request ${i}`).toEqual(result(alone.value[0]));
      expect(streamed.startsWith(alone.value[0].text)).toBe(true);
    }
    expect(engine.stats).toMatchObject({ queued: 0, reading: 0, rows: 0, finished: 21, failed: 3 });
    expect(engine.stats.pages).toMatchObject({ used: 0, promised: 0 });
    await engine.close();
    model.free();
    expect(device.bytes).toMatchObject({ live: 0 });
  });
});

test("a clip that no step takes fails alone, not those that were read with it", async () => {
  const engine = new TranscriptionEngine(transcriber);
  const chosen = [clips[0], short(clips[2]), clips[4]];
  const got = await Promise.allSettled(chosen.map((clip) => engine.submit(clip, { maxNewTokens: 5 })));
  const want = await Promise.allSettled(
    chosen.map((clip) => transcriber.transcribe([clip], { maxNewTokens: 5 })),
  );
  expect(got[1]).toEqual(want[1]);
  expect(got[1].status).toBe("rejected");
  for (const i of [0, 2]) {
    const { value } = got[i] as PromiseFulfilledResult<Transcription>;
    expect(result(value)).toEqual(result((want[i] as PromiseFulfilledResult<Transcription[]>).value[0]));
  }
  await engine.close();
});

// Plan: once warm, the same work makes nothing new on the device, and its end gives all back.
test("warm, it makes no pipelines; closed, its memory is what it was", async () => {
  const { kept } = gpu().bytes;
  const engine = new TranscriptionEngine(transcriber, { maxRows: 4 });
  const load = async (): Promise<Record<string, number>> => {
    const before = gpu().counts;
    await Promise.all(clips.map((clip) => engine.submit(clip, { maxNewTokens: 12 })));
    const { pipelines, bindGroups } = gpu().counts;
    return { pipelines: pipelines - before.pipelines, bindGroups: bindGroups - before.bindGroups };
  };
  await load();
  await load();
  const { reserved } = gpu().bytes;
  expect(await load()).toEqual({ pipelines: 0, bindGroups: 0 });
  expect(gpu().bytes).toMatchObject({ reserved, live: 0 });
  expect(gpu().bytes.kept).toBeGreaterThan(kept);
  await engine.close();
  expect(gpu().bytes).toMatchObject({ kept, live: 0 });
});

// Plan: an answer that begins with given tokens goes on as it does after its own.
test.each([1, 4, 19])("%s tokens that an answer begins with", async (count) => {
  const engine = new TranscriptionEngine(transcriber, { maxRead: 16 });
  const options = { maxNewTokens: 20 };
  const pieces: string[] = [];
  const whole = await engine.submit(clips[3], { ...options, onText: (text) => pieces.push(text) });
  expect(whole.tokenIds).toHaveLength(20);
  const prefix = whole.tokenIds.slice(0, count);
  const later: string[] = [];
  const [first, other] = await Promise.all([
    engine.submit(clips[3], { ...options, prefix, onText: (text) => later.push(text) }),
    engine.submit(clips[1], { ...options, prefix }),
  ]);
  expect(result(first)).toEqual(result(whole));
  expect(pieces.join("").endsWith(later.join(""))).toBe(true);
  expect(other.tokenIds.slice(0, count)).toEqual(prefix);
  const refused = engine.submit(clips[3], { maxNewTokens: count, prefix });
  await expect(refused).rejects.toThrow(
    `engine: 3: prefix: expected fewer tokens than the answer's ${count}, and no repetition penalty, got ${count} and 1`,
  );
  await engine.close();
});

// Plan: what a request waits for: places, pages, those before it; and each way to end without a result.
test("a live request begins before those that wait; owners take turns", async () => {
  const engine = new TranscriptionEngine(transcriber, { maxRows: 1 });
  const order: string[] = [];
  const submit = (name: string, options: SubmitOptions): Promise<unknown> =>
    engine.submit(clips[0], { maxNewTokens: 2, ...options }).then(() => order.push(name));
  const owner = {};
  await Promise.all([
    ...["a1", "a2", "a3"].map((name) => submit(name, { owner })),
    submit("b", {}),
    submit("live", { priority: "live" }),
  ]);
  expect(order).toEqual(["live", "a1", "b", "a2", "a3"]);
  await engine.close();
});

test("a running request goes on while a queue of others is read", async () => {
  const engine = new TranscriptionEngine(transcriber, { maxRows: 4, maxRead: 16 });
  const seen: number[] = [];
  const running = engine.submit(clips[0], {
    maxNewTokens: 40,
    onText: () => seen.push(engine.stats.reads),
  });
  while (engine.stats.rows === 0) await turn();
  const others = clips.map((clip) => engine.submit(clip, { maxNewTokens: 1 }));
  await Promise.all([running, ...others]);
  const steps = seen.map((reads, i) => reads - (seen[i - 1] ?? reads));
  expect(seen.at(-1)! - seen[0]).toBeGreaterThan(5);
  expect(Math.max(...steps)).toBeLessThan(5); // some tokens are no text
  await engine.close();
});

test("a live request waits for the pieces that were submitted before it alone", async () => {
  const engine = new TranscriptionEngine(transcriber, { maxRows: 2, maxRead: 16 });
  const others = Array.from({ length: 12 }, () => engine.submit(clips[3], { maxNewTokens: 60 }));
  while (engine.stats.rows < 2) await turn();
  const before = engine.stats.reads;
  await engine.submit(clips[0], { priority: "live", maxNewTokens: 1 });
  expect(engine.stats.queued).toBe(10);
  const prompt = transcriber.promptTokens([clips[0]], {})[0].ids.length;
  expect(engine.stats.reads - before).toBeLessThanOrEqual(3 + Math.ceil(prompt / 16));
  await Promise.all(others);
  await engine.close();
});

test("a request waits for the pages that it may need", async () => {
  const { layers, kvHeads, headDim } = transcriber.model.config.llm;
  const page = 2 * layers * 32 * 4 * kvHeads * headDim;
  const engine = new TranscriptionEngine(transcriber, { cacheBytes: 5 * page });
  let most = 0;
  const watch = (): void => {
    const { pages, rows, reading } = engine.stats;
    expect(pages.promised).toBeLessThanOrEqual(5);
    expect(pages.used).toBeLessThanOrEqual(pages.promised);
    most = Math.max(most, rows + reading);
  };
  const options = { maxNewTokens: 20, onText: watch };
  await Promise.all([0, 1, 2, 3].map(() => engine.submit(clips[0], options)));
  expect(most).toBe(2);
  await expect(engine.submit(clips[0], { maxNewTokens: 200 })).rejects.toThrow(
    /^engine: 0: expected 160 tokens of prompt and answer at most, got \d+ and 200; cut the clip/,
  );
  await engine.close();
});

test("a full queue refuses, or is waited for", async () => {
  const engine = new TranscriptionEngine(transcriber, { maxQueue: 2, maxRows: 1 });
  const options = { maxNewTokens: 3 };
  const taken = [0, 1, 2].map(() => engine.submit(clips[0], options));
  const late = engine.submit(clips[0], { ...options, waitForRoom: true });
  const refused = await engine.submit(clips[0], options).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(QueueFullError);
  expect(refused).toMatchObject({ waiting: 3, retryAfterSeconds: 1 });
  await Promise.all([...taken, late]);
  expect(engine.stats).toMatchObject({ finished: 4, refused: 1 });
  await engine.close();
});

test("a signal, a deadline, an option out of range and a listener that throws end their request alone", async () => {
  const engine = new TranscriptionEngine(transcriber);
  const abort = new AbortController();
  const steps: number[] = [];
  const kept = engine.submit(clips[1], { maxNewTokens: 30 });
  const gone = engine.submit(clips[0], {
    signal: abort.signal,
    maxNewTokens: 500,
    onText: () => {
      if (steps.push(engine.stats.steps) === 4) abort.abort(new Error("the client went away"));
    },
  });
  await expect(gone).rejects.toThrow("the client went away");
  await expect(engine.submit(clips[0], { signal: abort.signal })).rejects.toThrow("the client went away");
  await expect(engine.submit(clips[1], { timeoutMs: 1, maxNewTokens: 2000 })).rejects.toThrow(DeadlineError);
  await expect(engine.submit(clips[1], { maxNewTokens: 0 })).rejects.toThrow(DecodeError);
  const thrown = new Error("a listener's");
  const onText = (): void => {
    throw thrown;
  };
  await expect(engine.submit(clips[3], { onText, maxNewTokens: 20 })).rejects.toBe(thrown);
  const [alone] = await transcriber.transcribe([clips[1]], { maxNewTokens: 30 });
  expect(result(await kept)).toEqual(result(alone));
  await engine.idle();
  expect(engine.stats).toMatchObject({
    finished: 1,
    failed: 1,
    cancelled: 2,
    pages: { used: 0, promised: 0 },
  });
  expect(engine.stats.steps).toBeLessThan(60);
  const closed = expect(engine.submit(clips[2])).rejects.toThrow(EngineClosedError);
  await engine.close();
  await closed;
  await expect(engine.submit(clips[2])).rejects.toThrow(EngineClosedError);
});

test("a device that is lost ends every request with its error, and the engine says so", async () => {
  const { gpu: own } = await openDevice();
  const model = await Transcriber.load(own, await tinyModel({ seed: 5 }));
  const engine = new TranscriptionEngine(model, { maxRows: 2 });
  const requests = clips.map((clip, i) =>
    engine.submit(clip, { maxNewTokens: 100, onText: () => i === 1 && own.destroy() }),
  );
  const errors = await Promise.all(requests.map((request) => request.catch((error: unknown) => error)));
  for (const error of errors) expect(error).toBeInstanceOf(GpuError);
  expect(new Set(errors.map((error) => (error as Error).message)).size).toBe(1);
  expect((errors[0] as Error).message).toContain("the device is lost");
  expect(engine.lost).toBe(true);
  await expect(engine.submit(clips[0])).rejects.toThrow("the device is lost");
  expect(engine.stats).toMatchObject({ queued: 0, rows: 0, reading: 0, failed: 6 });
  await engine.close();
});

/** Refuses the allocation of a tensor of this width after `good` others of it, once. */
function refusing(width: number, good: number): MockInstance {
  const keep = gpu().keep.bind(gpu());
  let left = good;
  return vi.spyOn(gpu(), "keep").mockImplementation((shape, dtype) => {
    if (shape[1] === width && left-- === 0) throw new GpuError("no memory");
    return keep(shape, dtype);
  });
}

// Plan: each allocation of a larger KV pool or of a group's embeddings is refused once, and each of
// the session: the request fails with that error, a later one has the tokens that it has alone, and
// no memory is left.
const { kvHeads, headDim, layers, hiddenSize } = tinyConfig().llm;
test.each([
  ["a pool that grows for a prompt", 3, 40, kvHeads * headDim, 2 * layers],
  ["a pool that grows for an answer", 4, 90, kvHeads * headDim, 2 * layers],
  ["a group's embeddings", 3, 9, hiddenSize, 1],
])("%s that finds no memory fails its request alone", async (_, clip, maxNewTokens, width, allocations) => {
  const { kept } = gpu().bytes;
  const options = { maxNewTokens };
  const [alone] = await transcriber.transcribe([clips[clip]], options);
  for (let good = 0; good < allocations; good++) {
    const engine = new TranscriptionEngine(transcriber, { maxRows: 1, maxRead: 16 });
    await engine.submit(clips[4], { maxNewTokens: 1 });
    const spy = refusing(width, good);
    await expect(engine.submit(clips[clip], options)).rejects.toThrow("no memory");
    expect(result(await engine.submit(clips[clip], options))).toEqual(result(alone));
    spy.mockRestore();
    await engine.close();
    expect(gpu().bytes).toMatchObject({ kept, live: 0 });
  }
});

test("a session that finds no memory half-way leaves nothing", async () => {
  const { kept } = gpu().bytes;
  const keep = gpu().keep.bind(gpu());
  const engine = new TranscriptionEngine(transcriber, { maxRows: 1 });
  const session = 2 * layers + 10; // allocations
  for (let good = 0; good < session; good++) {
    let left = good;
    const spy = vi.spyOn(gpu(), "keep").mockImplementation((shape, dtype) => {
      if (left-- === 0) throw new GpuError("no memory");
      return keep(shape, dtype);
    });
    await expect(engine.submit(clips[4], { maxNewTokens: 1 })).rejects.toThrow("no memory");
    spy.mockRestore();
    expect(engine.stats.pages.all).toBe(0);
    expect(gpu().bytes.kept).toBe(kept);
  }
  await engine.submit(clips[4], { maxNewTokens: 1 });
  await engine.close();
  expect(gpu().bytes).toMatchObject({ kept, live: 0 });
});

test("a step that cannot be submitted fails its request, and the loop goes on", async () => {
  const engine = new TranscriptionEngine(transcriber, { maxRead: 16 });
  const want = await engine.submit(clips[4], { maxNewTokens: 2 });
  const { device } = gpu();
  const spy = vi.spyOn(device, "createCommandEncoder");
  spy.mockImplementationOnce(() => {
    throw new GpuError("no encoder");
  });
  await expect(engine.submit(clips[4], { maxNewTokens: 2 })).rejects.toThrow("no encoder");
  spy.mockRestore();
  expect(result(await engine.submit(clips[4], { maxNewTokens: 2 }))).toEqual(result(want));
  await engine.close();
});

/** The device says late that it had no room for some of the buffers that it makes from now on. */
function noRoom(first: number, count: number): () => number {
  const { device } = gpu();
  const create = device.createBuffer.bind(device);
  const pop = device.popErrorScope.bind(device);
  let [made, refused] = [0, false];
  vi.spyOn(device, "createBuffer").mockImplementation((descriptor) => {
    const buffer = create(descriptor);
    refused = made >= first && made < first + count;
    made++;
    if (refused) buffer.destroy();
    return buffer;
  });
  vi.spyOn(device, "popErrorScope").mockImplementation(async () => {
    const error = refused ? ({ message: "no room" } as GPUError) : null;
    refused = false;
    return (await pop()) ?? error;
  });
  return () => made;
}

// Plan: the device reports after a step was submitted that it had no room for the session's page
// table, keys or values, or for what the step computes. What was at work fails or is read once more;
// a later request has the tokens that it has alone, and no memory is left.
test.each([
  ["the session's page table", 0, 1],
  ["the keys of a layer", 1, 1],
  ["all keys and values", 1, 2 * layers],
  ["what a step computes", 2 * layers + 20, 1],
  ["much of what a step computes", 2 * layers + 20, 30],
])("no room for %s, reported late, fails no later request", async (_, first, count) => {
  const { kept } = gpu().bytes;
  const chosen = clips.slice(0, 3);
  const options = { maxNewTokens: 8 };
  const alone = (await transcriber.transcribe(chosen, options)).map(result);
  const engine = new TranscriptionEngine(transcriber, { maxRows: 3 });
  gpu().trim();
  const made = noRoom(first, count);
  const ends = await Promise.allSettled(chosen.map((clip) => engine.submit(clip, options)));
  expect(made()).toBeGreaterThan(first + count);
  for (const [i, end] of ends.entries())
    if (end.status === "fulfilled") expect(result(end.value)).toEqual(alone[i]);
    else expect(end.reason).toMatchObject({ reported: true });
  vi.restoreAllMocks();
  for (const [i, clip] of chosen.entries())
    expect(result(await engine.submit(clip, options))).toEqual(alone[i]);
  await engine.close();
  expect(gpu().bytes).toMatchObject({ kept, live: 0 });
});
