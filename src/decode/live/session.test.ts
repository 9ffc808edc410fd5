import { describe, expect, test } from "vitest";
import { random } from "../../../test/gpu.js";
import { concatenated } from "../../frontend/audio.js";
import { QueueFullError } from "../engine/errors.js";
import type { SubmitOptions } from "../engine/options.js";
import type { PreparedClip, Transcription } from "../transcriber.js";
import type { LiveEvent, LiveOptions, LiveParts } from "./options.js";
import { LiveSession } from "./session.js";

// Plan: a session over voice activity by loudness and a model whose text is known: word i of a
// segment is spoken from 300 i ms on, and one that has not ended is heard wrong. The loudness says
// which segment it is.
const rate = 16_000;
const wordMs = 300;
const scripts = ["so far so good and on we go to the end", "every word has its time", "今天 天气 很 好"];

/** Silence and speech of the scripts, in ms. */
function speech(...parts: readonly (readonly [script: number | undefined, ms: number])[]): Float32Array {
  return Float32Array.from(
    parts.flatMap(([script, ms]) =>
      new Array<number>((rate / 1000) * ms).fill(script === undefined ? 0 : 0.2 * (script + 1)),
    ),
  );
}

interface Behaviour {
  /** Turns of the event loop that a decoding takes. */
  readonly delay?: () => number;
  /** Changes a text that was heard. */
  readonly mishear?: (text: string) => string;
  readonly refuse?: () => Error | undefined;
  /** The final answer, instead of the one that begins with the prefix. */
  readonly final?: Partial<Transcription>;
}

const decode = (ids: readonly number[]): string => String.fromCodePoint(...ids);

/** What the model hears in a clip behind a prefix. */
function heard(samples: Float32Array, prefix: string, mishear: (text: string) => string): string {
  const loud = samples.filter((value) => value > 0);
  const words = scripts[Math.round(5 * (loud[0] ?? 0.2)) - 1].split(" ");
  const ms = (1000 * loud.length) / rate;
  const whole = words.slice(0, Math.floor(ms / wordMs));
  const part = whole.length < words.length && ms % wordMs > 20 ? [`?${Math.round(ms)}`] : [];
  const text = mishear(`${[...whole, ...part].join(" ")}.`);
  return prefix + text.slice(prefix.length);
}

class Parts implements LiveParts {
  readonly sampleRate = rate;
  readonly runs: SubmitOptions[] = [];
  streams = 0;
  readonly decode = decode;

  constructor(private readonly behaviour: Behaviour = {}) {}

  readonly openStream: LiveParts["openStream"] = () => {
    let rest = new Float32Array(0);
    this.streams++;
    return {
      push: (samples) => {
        const all = concatenated([rest, samples]);
        const frames = Math.floor(all.length / 160);
        const silence = Float32Array.from({ length: frames }, (_, i) => (all[160 * i] > 0 ? 0 : 1));
        rest = all.slice(160 * frames);
        return Promise.resolve({ silence });
      },
      free: () => {
        this.streams--;
      },
    };
  };

  readonly prepare: LiveParts["prepare"] = (samples, name) => ({
    name,
    features: samples,
    frames: Math.ceil(samples.length / 960),
    audioSeconds: samples.length / rate,
    frontendSeconds: 0,
  });

  readonly run = async (clip: PreparedClip, options: SubmitOptions): Promise<Transcription> => {
    this.runs.push(options);
    const { delay = () => 0, mishear = (text: string): string => text, refuse, final } = this.behaviour;
    const error = refuse?.();
    if (error !== undefined) throw error;
    for (let turns = delay(); turns > 0; turns--) await new Promise((resolve) => setTimeout(resolve, 0));
    options.signal?.throwIfAborted();
    const text = heard(clip.features, decode(options.prefix ?? []), mishear);
    const tokenIds = Array.from(text, (character) => character.codePointAt(0)!);
    const seconds = { frontend: 0, encoder: 0, adaptor: 0, prefill: 0, decode: 0 };
    const answer = { text, tokenIds, audioSeconds: clip.audioSeconds, seconds, finish: "stop" } as const;
    return options.wordTimes === false ? answer : { ...answer, ...final };
  };
}

/** Runs a session on samples in pieces; its events. */
async function run(
  samples: Float32Array,
  parts: Parts,
  options: LiveOptions = {},
  pieceMs: () => number = () => 100,
): Promise<LiveEvent[]> {
  const events: LiveEvent[] = [];
  const session = new LiveSession(
    parts,
    options,
    (event) => events.push(event),
    (error) => {
      throw error;
    },
  );
  for (let at = 0; at < samples.length;) {
    const end = at + Math.round((rate / 1000) * pieceMs());
    session.push(samples.slice(at, end));
    at = end;
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  session.commit();
  await session.idle();
  session.close();
  await session.idle();
  expect(parts.streams).toBe(0);
  return events;
}

const finals = (events: readonly LiveEvent[]): string[] =>
  events.flatMap((event) => (event.type === "final" ? [event.segment.text] : []));

/** Events come in their order, and stable texts never change. @returns  the stable texts */
function check(events: readonly LiveEvent[]): string[] {
  const texts: string[] = [];
  const open: { start: number; stable: string }[] = [];
  for (const event of events) {
    if (event.type === "started") open.push({ start: event.start, stable: "" });
    else if (event.type === "partial") {
      const segment = open.at(-1)!;
      expect(event.start).toBe(segment.start);
      expect(event.stable.startsWith(segment.stable), `${event.stable} after ${segment.stable}`).toBe(true);
      segment.stable = event.stable;
      texts.push(event.stable);
    } else if (event.type === "final") {
      const { start, stable } = open.shift()!;
      expect(event.segment.start).toBe(start);
      expect(event.segment.text.startsWith(stable), `${event.segment.text} after ${stable}`).toBe(true);
    }
  }
  expect(open).toEqual([]);
  return texts;
}

describe("a live session", () => {
  const said = speech(
    [undefined, 700],
    [0, 3300],
    [undefined, 1500],
    [1, 1500],
    [undefined, 1200],
    [2, 1000],
  );

  test("words become stable while they come; each segment has its final text", async () => {
    const parts = new Parts();
    const events = await run(said, parts);
    const stable = check(events);
    expect(finals(events)).toEqual([
      "so far so good and on we go to the end.",
      "every word has its time.",
      "今天 天气 很 ?1000.",
    ]);
    expect(stable.filter((text) => text !== "").length).toBeGreaterThan(3);
    expect(stable).toContain("so far so good and on we");
    expect(events.map(({ type }) => type).filter((type) => type !== "partial")).toEqual([
      ...[
        "started",
        "stopped",
        "final",
        "started",
        "stopped",
        "final",
        "started",
        "stopped",
        "final",
        "committed",
      ],
    ]);
    expect(events.at(-1)).toEqual({ type: "committed", seconds: 9.2 });
    expect(parts.runs.every(({ priority }) => priority === "live")).toBe(true);
    const prefixes = parts.runs.map(({ prefix }) => decode(prefix!).trim());
    for (const text of new Set(stable)) expect(prefixes).toContain(text); // read, not decoded again
  });

  test.each([
    { firstMs: 960, stepMs: 640 },
    { firstMs: 960, stepMs: 480 },
  ])("what is heard wrong in a short beginning is not stable: %j", async (options) => {
    const mishear = (text: string): string => (text.length < 26 ? text.replace("far", "bar") : text);
    const events = await run(speech([0, 3300], [undefined, 1500]), new Parts({ mishear }), options);
    const misheard = events.filter(
      (event) => event.type === "partial" && event.tentative.startsWith("so bar"),
    );
    expect(misheard.length).toBeGreaterThan(1);
    check(events);
    expect(finals(events)).toEqual(["so far so good and on we go to the end."]);
  });

  test.each([false, true])(
    "a wrong stable word stays, unless the final text is free: %s",
    async (freeFinal) => {
      const mishear = (text: string): string => (text.length < 30 ? text.replace("far", "bar") : text);
      const events = await run(speech([0, 3300], [undefined, 1500]), new Parts({ mishear }), { freeFinal });
      const stable = events.flatMap((event) => (event.type === "partial" ? [event.stable] : []));
      expect(stable.some((text) => text.startsWith("so bar"))).toBe(true);
      expect(finals(events)[0].slice(0, 6)).toBe(freeFinal ? "so far" : "so bar");
    },
  );

  test("a final answer without the stable words: they stay, with their tokens and no other's times", async () => {
    const words = [{ text: "other", start: 0, end: 1, confidence: 1 }];
    const final = { text: "other", tokenIds: [1], words, agreement: 1 };
    const events = await run(speech([0, 3300], [undefined, 1500]), new Parts({ final }));
    const stable = events.flatMap((event) => (event.type === "partial" ? [event.stable] : [])).at(-1)!;
    const [{ text, tokenIds, ...rest }] = events.flatMap((event) =>
      event.type === "final" ? [event.segment] : [],
    );
    expect(stable).not.toBe("");
    expect([text, decode(tokenIds).trim()]).toEqual([stable, stable]);
    expect(rest).toEqual({ start: 0, end: expect.any(Number) as number, finish: "stop" });
  });

  // Decodings that contradict each other, pieces of any length, and slow ones.
  test.each([1, 2, 3, 4, 5, 6, 7, 8])("stable text never changes, seed %s", async (seed) => {
    const next = random(seed);
    const below = (count: number): number => Math.floor(((next() + 1) / 2) * count);
    const mishear = (text: string): string =>
      Array.from(text, (letter) => (below(40) === 0 ? "xy z今.'"[below(7)] : letter)).join("");
    const events = await run(said, new Parts({ delay: () => below(8), mishear }), {}, () => 10 + below(200));
    check(events);
    expect(finals(events)).toHaveLength(3);
  });

  test("without endpoints a segment ends by a commit, or by its length", async () => {
    const events = await run(speech([1, 1500]), new Parts(), { endpoints: false, maxSegmentMs: 1000 });
    check(events);
    const spans = events.flatMap((event) => (event.type === "stopped" ? [[event.start, event.end]] : []));
    expect(spans).toEqual([
      [0, 1],
      [1, 1.5],
    ]);
  });

  test("without partials there are final texts alone", async () => {
    const parts = new Parts();
    const events = await run(said, parts, { partials: false });
    expect(events.filter(({ type }) => type === "partial")).toEqual([]);
    expect(parts.runs).toHaveLength(3);
  });

  test("a decoding that finds no room is left out; another error ends the session once", async () => {
    let count = 0;
    const full = new Parts({ refuse: () => (++count === 2 ? new QueueFullError(4, 1) : undefined) });
    expect(finals(await run(said, full))).toHaveLength(3);
    const errors: unknown[] = [];
    const parts = new Parts({ refuse: () => new Error("damaged") });
    const session = new LiveSession(
      parts,
      {},
      () => undefined,
      (error) => errors.push(error),
    );
    session.push(said);
    session.push(said);
    session.commit();
    await session.idle();
    expect(errors).toEqual([new Error("damaged")]);
    expect(parts.streams).toBe(0);
  });

  test("clear drops the open segment; what follows has the session's times", async () => {
    const events: LiveEvent[] = [];
    const session = new LiveSession(
      new Parts(),
      {},
      (event) => events.push(event),
      () => undefined,
    );
    session.push(speech([0, 2000]));
    session.clear();
    session.push(speech([undefined, 500], [1, 1500]));
    session.commit();
    await session.idle();
    expect(finals(events)).toEqual(["every word has its time."]);
    expect(events.at(-2)).toMatchObject({ segment: { start: 2.24 } });
    session.close();
  });
});
