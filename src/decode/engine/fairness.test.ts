import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { useGpu } from "../../../test/gpu.js";
import { noiseClip, tinyModel } from "../../../test/helpers/tiny-model.js";
import { type PreparedClip, Transcriber } from "../transcriber.js";
import { TranscriptionEngine } from "./engine.js";
import { QueueFullError } from "./errors.js";
import type { EngineOptions, EngineStats, SubmitOptions } from "./options.js";
import { Reader } from "./reader.js";
import { Session } from "./session.js";

const gpu = useGpu({ subgroups: false });
let transcriber: Transcriber;
let clips: PreparedClip[];

beforeAll(async () => {
  transcriber = await Transcriber.load(gpu(), await tinyModel({ seed: 5 }));
  clips = [0.3, 0.8, 1.7].map((length, i) => transcriber.prepare(noiseClip(length, i), `${i}`));
});
afterAll(() => transcriber.free());
afterEach(() => void vi.restoreAllMocks());

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 0));
};

// Plan: live requests that never end, each owner's next one as soon as the last one is there. One of
// the others comes to its end all the same: beside live ones that are always read, that hold all
// rows, and that hold the pages that it needs.
describe("beside live requests without an end", () => {
  const page = (count: number): number => {
    const { layers, kvHeads, headDim } = transcriber.model.config.llm;
    return count * 2 * layers * 32 * 4 * kvHeads * headDim;
  };
  test.each<[string, () => EngineOptions, SubmitOptions, SubmitOptions]>([
    ["that are read", () => ({ maxRows: 16, maxRead: 16 }), { maxNewTokens: 1 }, { maxNewTokens: 4 }],
    ["that hold all rows", () => ({ maxRows: 2 }), { maxNewTokens: 12 }, { maxNewTokens: 4 }],
    ["that hold pages", () => ({ cacheBytes: page(6) }), { maxNewTokens: 12 }, { maxNewTokens: 110 }],
  ])("%s, another is answered", async (_, engineOptions, live, other) => {
    const engine = new TranscriptionEngine(transcriber, engineOptions());
    let [ended, goesOn] = [0, true];
    const streams = Array.from({ length: 8 }, async () => {
      for (const owner = {}; goesOn && ended < 400; ended++)
        await engine.submit(clips[0], { ...live, priority: "live", owner });
    });
    await until(() => ended > 8);
    const before = ended;
    await engine.submit(clips[1], other);
    expect(ended - before).toBeLessThan(200);
    goesOn = false;
    await Promise.all(streams);
    await engine.close();
  });
});

// Plan: what ordinary requests wait for, live ones do not: places in the queue, and a turn in it.
test("a queue that is full of others takes live requests, which begin first", async () => {
  const engine = new TranscriptionEngine(transcriber, { maxQueue: 1, maxRows: 1 });
  const order: string[] = [];
  const submit = (name: string, options: SubmitOptions): Promise<unknown> =>
    engine.submit(clips[0], { maxNewTokens: 3, ...options }).then(() => order.push(name));
  const others = ["a", "b"].map((name) => submit(name, {}));
  const late = submit("late", { waitForRoom: true });
  await expect(engine.submit(clips[0], {})).rejects.toBeInstanceOf(QueueFullError);
  const live = [
    submit("partial", { priority: "live" }),
    submit("final", { priority: "live", waitForRoom: true }),
  ];
  await expect(engine.submit(clips[0], { priority: "live" })).rejects.toBeInstanceOf(QueueFullError);
  await Promise.all([...others, late, ...live]);
  expect(order.indexOf("final")).toBeLessThan(order.indexOf("b"));
  expect(order.indexOf("b")).toBeLessThan(order.indexOf("late"));
  await engine.close();
});

test("a full queue's time to come back counts the work that is going on", async () => {
  const engine = new TranscriptionEngine(transcriber, { maxQueue: 1, maxRows: 1 });
  await engine.submit(clips[0], { maxNewTokens: 3 });
  const running = [0, 1].map(() => engine.submit(clips[0], { maxNewTokens: 3 }));
  const now = performance.now();
  vi.spyOn(performance, "now").mockReturnValue(now + 3600_000);
  await expect(engine.submit(clips[0])).rejects.toMatchObject({ retryAfterSeconds: 60 });
  vi.restoreAllMocks();
  await Promise.all(running);
  await engine.close();
});

// Plan: a fault of the program in each place of a step. It fails requests, and later ones have the
// tokens that they have alone; the engine's memory is given back.
describe("a fault", () => {
  const thrown = new TypeError("a fault");
  const fails = (): never => {
    throw thrown;
  };
  const read = Reader.prototype.read; // eslint-disable-line @typescript-eslint/unbound-method -- called with its reader below
  const places: Record<string, () => unknown> = {
    "in what is read": () => {
      let left = 3; // two steps with others, then one by itself
      vi.spyOn(Reader.prototype, "read").mockImplementation(function (this: Reader, ...all) {
        const step = read.apply(this, all);
        return step && left-- > 0 ? { ...step, done: fails } : step;
      });
    },
    "in the tokens of a decoding step": () => {
      const write = gpu().write.bind(gpu());
      vi.spyOn(gpu(), "write").mockImplementation((...all) =>
        new Error().stack!.includes("HostLane.pick") ? fails() : write(...all),
      );
    },
    "in what is known of the rows": () => {
      vi.spyOn(Session.prototype, "read").mockImplementationOnce(fails);
      vi.spyOn(Session.prototype, "reading", "get").mockImplementationOnce(fails);
    },
    "in what begins a request": () => vi.spyOn(Session.prototype, "open").mockImplementationOnce(fails),
  };
  test.each(Object.keys(places))("%s", async (place) => {
    const { kept } = gpu().bytes;
    const options = { maxNewTokens: 6, repetitionPenalty: 1.3 };
    const [want] = await transcriber.transcribe([clips[1]], options);
    const engine = new TranscriptionEngine(transcriber);
    await engine.submit(clips[0], options);
    places[place]();
    const ends = await Promise.allSettled([0, 2].map((i) => engine.submit(clips[i], options)));
    expect(ends.map(({ status }) => status)).toContain("rejected");
    for (const end of ends) if (end.status === "rejected") expect(end.reason).toBe(thrown);
    vi.restoreAllMocks();
    expect((await engine.submit(clips[1], options)).tokenIds).toEqual(want.tokenIds);
    const idle = { queued: 0, reading: 0, rows: 0 } satisfies Partial<EngineStats>;
    expect(engine.stats).toMatchObject(idle);
    await engine.close();
    expect(gpu().bytes).toMatchObject({ kept, live: 0 });
  });
});
