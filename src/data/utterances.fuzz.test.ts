import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { DataError } from "./errors.js";
import { type Utterance, parseUtterance, readUtterances, utteranceLine } from "./utterances.js";

// Plan: damaged lines of every form, and objects of known fields with any values. A line is an
// utterance with valid fields, which reads back the same, or a DataError in one short line with a
// field.

const user = "语音转写：<|startofspeech|>!a.wav<|endofspeech|>";
const LINES = [
  { audio: "a.wav", text: "打开灯", prompt: "P：", start: 1.5, end: 2.25, channel: 2, transcript: "t" },
  { audio: "a.wav", text: "", start: null, end: 3, prompt: null },
  {
    audio: "a.wav",
    text: "one 打开灯",
    segments: [
      { start: 0.5, end: 2, text: "one" },
      { start: 2, end: 3.25, text: "打开灯" },
    ],
    ignore: [{ start: 4, end: 9 }],
  },
  { audio_filepath: "a.wav", text: "one", offset: 0.1, duration: 0.2, lang: "en" },
  { audio_filename: "/a.wav", text: "one", duration: -1 },
  {
    messages: [
      { role: "system", content: "You are a helpful assistant." },
      { role: "user", content: user },
      { role: "assistant", content: "几点了？" },
    ],
    speech_length: 145,
  },
].map((line) => JSON.stringify(line));

/** Pieces of lines: JSON, numbers at their limits, marks of the conversation. */
const PIECES = [
  ...Array.from('{}[]":,-\\.0!|<>\n\t\0é😀\ud83d'),
  ...["null", "true", "1e999", "-1", "1e-9", "9007199254740993", '""', "[]", "{}", '"user"', '"__proto__":'],
  ...[
    "<|startofspeech|>!",
    "<|endofspeech|>",
    '"text":',
    '"audio":',
    '"messages":',
    '"duration":',
    "\\ud800",
  ],
];

interface Seen {
  read: number;
  readonly refused: Set<string>;
}

function check(text: string, seen: Seen): void {
  let utterance: Utterance;
  try {
    utterance = parseUtterance(text, "/d/f.jsonl", 7);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    expect(error.message).toMatch(
      /^\/d\/f\.jsonl:7: [^\p{Cc}]+: expected [^\p{Cc}]+, got [^\p{Cc}]+; mend /u,
    );
    expect(error.message.length).toBeLessThan(700);
    seen.refused.add(error.field.replace(/\d+/, "#"));
    return;
  }
  seen.read++;
  const { audio, start = 0, end = Infinity, channel = 1, prompt = "", transcript = "", line } = utterance;
  expect(isAbsolute(audio) && line === 7).toBe(true);
  expect(Number.isFinite(start) && start >= 0 && end > start).toBe(true);
  expect(Number.isInteger(channel) && channel >= 1 && channel <= 999).toBe(true);
  expect([utterance.text, prompt, transcript].every((part) => typeof part === "string")).toBe(true);
  expect(Object.values(utterance)).not.toContain(undefined);
  expect(parseUtterance(utteranceLine(utterance, "/d"), "/d/f.jsonl", 7)).toEqual(utterance);
}

const edit = fc.record({
  at: fc.nat(9_999),
  cut: fc.constantFrom(0, 0, 1, 2, 4, 16),
  to: fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: "binary", maxLength: 3 })),
});
const damaged = fc
  .tuple(fc.constantFrom(...LINES), fc.array(edit, { minLength: 1, maxLength: 3 }))
  .map(([line, edits]) =>
    edits.reduce((text, { at, cut, to }) => {
      const from = Math.floor((at / 10_000) * (text.length + 1));
      return text.slice(0, from) + to + text.slice(from + cut);
    }, line),
  );

const value = fc.oneof(
  fc.constantFrom<unknown>(null, "", "a.wav", user, 0, 1, 2.5, -1, 1e308, 1e-300, 5e-324, true),
  fc.jsonValue({ maxDepth: 1 }),
);
const turn = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      role: fc.constantFrom<unknown>("system", "user", "assistant", "tool", 1),
      content: fc.oneof(fc.constantFrom<unknown>(user, "You are a helpful assistant.", "x"), value),
    }),
  },
  { weight: 1, arbitrary: value },
);
const NAMES = [
  ...["audio", "audio_filepath", "audio_filename", "text", "prompt", "transcript", "start", "end", "channel"],
  ...["offset", "duration", "__proto__"],
];
const fields = fc
  .tuple(
    fc.dictionary(fc.constantFrom(...NAMES), value, { maxKeys: 6 }),
    fc.option(fc.array(turn, { maxLength: 4 })),
    fc.constantFrom({}, { audio: "a.wav", text: "t" }, { audio_filepath: "a.wav", text: "t" }),
  )
  .map(([some, messages, usual]) =>
    JSON.stringify({
      ...usual,
      ...some,
      ...(messages && { messages }),
    }),
  );

test.each([
  ["damaged lines", damaged, ["line", "audio", "text", "messages", "user"]],
  [
    "objects of known fields",
    fields,
    ["audio", "text", "channel", "end", "prompt", "transcript", "offset", "duration", "messages.#"],
  ],
] as const)("%s", (_, inputs, kinds) => {
  const seen: Seen = { read: 0, refused: new Set() };
  const runs = fuzzRuns(10_000);
  fc.assert(
    fc.property(inputs, (text) => check(text, seen)),
    { numRuns: runs },
  );
  expect(seen.read).toBeGreaterThan(runs / 50);
  for (const kind of kinds) expect([...seen.refused]).toContain(kind);
});

test("a file of damaged bytes: each line is read or reported once, in order", async () => {
  const directory = mkdtempSync(join(tmpdir(), "funasr-fuzz-"));
  try {
    const file = join(directory, "f.jsonl");
    const byte = fc.tuple(fc.nat(999), fc.constantFrom(0, 0x0d, 0x22, 0x7f, 0x80, 0xc3, 0xff));
    const line = fc
      .tuple(fc.constantFrom(...LINES), fc.array(byte, { maxLength: 2 }))
      .map(([text, bytes]) => {
        const whole = Buffer.from(text);
        for (const [at, to] of bytes) whole[Math.floor((at / 1000) * whole.length)] = to;
        return whole;
      });
    const sampled = fc.sample(line, fuzzRuns(10_000));
    writeFileSync(file, Buffer.concat(sampled.flatMap((bytes) => [bytes, Buffer.from("\n")])));
    const bad: number[] = [];
    const read: number[] = [];
    const onBad = (found: { line: number }): void => void bad.push(found.line);
    for await (const { line: at } of readUtterances(file, { onBad })) read.push(at);
    expect([...read, ...bad].sort((a, b) => a - b)).toEqual(sampled.map((_, i) => i + 1));
    expect(Math.min(read.length, bad.length)).toBeGreaterThan(sampled.length / 20);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
