import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DataError } from "./errors.js";
import { type BadLine, type Utterance, parseUtterance, readUtterances, utteranceLine } from "./utterances.js";

const root = mkdtempSync(join(tmpdir(), "funasr-utterances-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string): string => join(root, name);

function file(name: string, content: string | Uint8Array): string {
  writeFileSync(at(name), content);
  return at(name);
}

async function all(path: string, bad?: BadLine[]): Promise<Utterance[]> {
  const found: Utterance[] = [];
  const options = bad ? { onBad: (line: BadLine) => void bad.push(line) } : {};
  for await (const utterance of readUtterances(path, options)) found.push(utterance);
  return found;
}

const conversation = (user: string, assistant = "几点了？", extra: object[] = []): string =>
  JSON.stringify({
    messages: [
      { role: "system", content: "You are a helpful assistant." },
      { role: "user", content: user },
      { role: "assistant", content: assistant },
      ...extra,
    ],
    speech_length: 145,
    text_length: 3,
  });
const slot = (path: string): string => `<|startofspeech|>!${path}<|endofspeech|>`;

test("a Git LFS pointer instead of the file is reported, also with onBad", async () => {
  const path = file(
    "pointer.jsonl",
    `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 12\n`,
  );
  const refusal =
    /pointer\.jsonl: content: expected the file itself, got a Git LFS pointer; run `git lfs pull`/;
  await expect(all(path)).rejects.toThrow(refusal);
  await expect(all(path, [])).rejects.toThrow(refusal);
});

describe("both forms", () => {
  test("paths are relative to the file, lines count from 1, empty lines and other fields are ignored", async () => {
    const path = file(
      "both.jsonl",
      `\ufeff${conversation(`语音转写：${slot("a/b.wav")}`)}\r\n\n` +
        `{"audio":"/abs.wav","text":"","prompt":"P","start":1.5,"end":2,"transcript":"s","more":{}}\n` +
        `{"audio":"../c.wav","text":"三","start":null}`,
    );
    expect(await all(path)).toEqual([
      { audio: join(root, "a/b.wav"), prompt: "语音转写：", text: "几点了？", line: 1 },
      { audio: "/abs.wav", prompt: "P", start: 1.5, end: 2, text: "", transcript: "s", line: 3 },
      { audio: join(root, "../c.wav"), text: "三", line: 4 },
    ]);
  });

  test("a conversation without a system turn or without words before the audio", () => {
    const messages = [
      { role: "user", content: slot("x.wav") },
      { role: "assistant", content: "x" },
    ];
    expect(parseUtterance(JSON.stringify({ messages }), "/d/f.jsonl", 7)).toEqual({
      audio: "/d/x.wav",
      text: "x",
      line: 7,
    });
  });

  test("lines of utteranceLine read back the same", () => {
    const whole = {
      audio: "/d/e/x.wav",
      start: 0.25,
      end: 3,
      channel: 2,
      prompt: "语音翻译成英文：",
      text: 'a "b"\n',
    };
    const least = { audio: "/other/y.wav", text: "" };
    expect(utteranceLine(whole, "/d")).toContain('"audio":"e/x.wav"');
    for (const utterance of [whole, least])
      expect(parseUtterance(utteranceLine(utterance, "/d"), "/d/f.jsonl", 1)).toEqual({
        ...utterance,
        line: 1,
      });
  });
});

// Plan: null means absent in every optional field. NeMo's names give the same utterance as this
// package's.
describe("fields that are null, and NeMo's manifests", () => {
  const audio = { audio: "a.wav", text: "t" };
  const nemo = { audio_filepath: "a.wav", text: "t" };
  test.each<readonly [object, object]>([
    ...[
      "prompt",
      "transcript",
      "start",
      "end",
      "channel",
      "messages",
      "audio_filepath",
      "offset",
      "duration",
    ].map((field) => [{ ...audio, [field]: null }, {}] as const),
    [{ ...audio, channel: 2 }, { channel: 2 }],
    [nemo, {}],
    [{ ...nemo, audio: null }, {}],
    [{ audio_filename: "a.wav", text: "t" }, {}],
    [{ ...nemo, duration: 2.38 }, { end: 2.38 }],
    [
      { ...nemo, offset: 0.1, duration: 0.2 },
      { start: 0.1, end: 0.3 },
    ],
    [{ ...nemo, offset: 1 }, { start: 1 }],
    [{ ...nemo, offset: 1, duration: null }, { start: 1 }],
    [{ ...nemo, offset: 1, duration: -1 }, { start: 1 }],
    [{ ...nemo, offset: null, duration: 0 }, {}],
  ])("%j", (line, expected) => {
    expect(parseUtterance(JSON.stringify(line), "/d/f.jsonl", 1)).toEqual({
      audio: "/d/a.wav",
      text: "t",
      line: 1,
      ...expected,
    });
  });
});

// Plan: segments stand for the text, lie in the order of time without overlaps, and read back the
// same; what is wrong is named by its place.
describe("segments", () => {
  const line = (fields: object): string => JSON.stringify({ audio: "a.wav", ...fields });
  const [one, two] = [
    { start: 0.5, end: 2, text: "hello there" },
    { start: 2, end: 4.5, text: "打开灯" },
  ];

  test.each<readonly [object, object]>([
    [{ segments: [one, two] }, { text: "hello there 打开灯", segments: [one, two] }],
    [
      { text: "hello there打开 灯", segments: [one, two] },
      { text: "hello there打开 灯", segments: [one, two] },
    ],
    [
      { segments: [two, { ...one, id: 7, text: " hello there " }], text: null },
      { text: "hello there 打开灯", segments: [one, two] },
    ],
    [
      { segments: [one, { start: 5, end: 6, text: "" }], ignore: [{ start: 2, end: 5, kind: "music" }] },
      { text: "hello there", segments: [one], ignore: [{ start: 2, end: 5 }] },
    ],
    [
      { segments: [], ignore: null },
      { text: "", segments: [] },
    ],
    [{ segments: [one, { ...two, start: 1.99 }] }, { text: "hello there 打开灯" }],
    [
      { segments: [two], start: 2, end: 4.5 },
      { start: 2, end: 4.5, text: "打开灯" },
    ],
    [
      { text: "a", ignore: [{ start: 1, end: 2 }] },
      { text: "a", ignore: [{ start: 1, end: 2 }] },
    ],
  ])("%j", (fields, want) => {
    const utterance = parseUtterance(line(fields), "/d/f.jsonl", 1);
    expect(utterance).toMatchObject(want);
    expect(parseUtterance(utteranceLine(utterance, "/d"), "/d/f.jsonl", 1)).toEqual(utterance);
  });

  test.each<readonly [object, string]>([
    [{ segments: {} }, 'segments: expected a list of {"start", "end", "text"}, got an object'],
    [{ segments: [1] }, 'segments.0: expected {"start", "end", "text"}, got 1'],
    [{ ignore: [1] }, 'ignore.0: expected {"start", "end"}, got 1'],
    [
      { segments: [one, { ...two, start: "2" }] },
      'segments.1.start: expected seconds from 0 to 10000000, got "2"',
    ],
    [{ segments: [{ ...one, end: -1 }] }, "segments.0.end: expected seconds from 0 to 10000000, got -1"],
    [{ segments: [{ ...one, end: 0.5 }] }, "segments.0.end: expected more than its start, 0.5, got 0.5"],
    [{ segments: [{ start: 0, end: 1 }] }, "segments.0.text: expected a text, got nothing"],
    [
      { segments: [one, { ...two, start: 1.5 }] },
      "segments.1.start: expected 2, the end of segments.0, or more, got 1.5",
    ],
    [
      { segments: [one], ignore: [{ start: 1, end: 3 }] },
      "ignore.0.start: expected 2, the end of segments.0, or more, got 1",
    ],
    [
      { segments: [two], end: 4 },
      "segments.0: expected times from the line's start, 0, to its end, 4, got 2 to 4.5",
    ],
    [{ segments: [two], text: "打开" }, 'text: expected the words of segments, "打开灯", got "打开"'],
  ])("%j is refused", (fields, message) => {
    expect(() => parseUtterance(line(fields), "/d/f.jsonl", 3)).toThrow(`/d/f.jsonl:3: ${message}; mend`);
  });
});

// Plan: a line that is not an utterance is reported in one line with file, line and field. With
// onBad the others are read.
describe("bad lines", () => {
  test.each<readonly [string, RegExp]>([
    ...["{", '{"audio":', '{"audio":"a', '{"audio":"a"', '{"audio":"a",'].map(
      (cut) => [cut, /: line: expected JSON, got a line that ends too early/] as const,
    ),
    ["{]", /: line: expected JSON, got Expected property name/],
    [
      "[1]",
      /: line: expected an object, got \[1\]; mend the line, or leave it out \(data and train: --skip-bad\)$/,
    ],
    ['{"text":"a"}', /: audio: expected a path, got nothing/],
    ['{"wav":"x","txt":"y"}', /: audio: expected a path, got nothing \(the line has "wav", "txt"\);/],
    ["{}", /: audio: expected a path, got nothing \(the line has no fields\);/],
    ['{"audio":null,"text":"a"}', /: audio: expected a path, got nothing/],
    ['{"audio":"a","text":null}', /: text: expected a text, got null/],
    ...["0", "-1", "1.5", '"left"', "1000"].map(
      (channel) =>
        [
          `{"audio":"a","text":"b","channel":${channel}}`,
          /: channel: expected a whole number from 1 \(1 is the first, or left\), got /,
        ] as const,
    ),
    ['{"audio_filepath":["a","b"],"text":"t"}', /: audio: expected a path, got /],
    ['{"audio_filepath":"a","text":"t","offset":-1}', /: offset: expected seconds from 0, got -1/],
    ...["1e308", "1e-7"].map(
      (duration) =>
        [
          `{"audio_filepath":"a","text":"t","offset":1,"duration":${duration}}`,
          /: duration: expected seconds, from a millionth to what a file can last, got 1e/,
        ] as const,
    ),
    ['{"audio_filepath":"a","text":"t","duration":"2"}', /: duration: expected seconds, got "2"/],
    ['{"audio":"","text":"a"}', /: audio: expected a path, got ""/],
    ['{"audio":"a"}', /: text: expected a text, got nothing/],
    ['{"audio":"a","text":"b","prompt":1}', /: prompt: expected a text, got 1/],
    ['{"audio":"a","text":"b","start":-1}', /: start: expected seconds from 0, got -1/],
    ['{"audio":"a","text":"b","start":2,"end":2}', /: end: expected more than start 2, got 2/],
    ['{"audio":"a\\u0000b","text":"b"}', /: audio: expected a path without null characters, got "a\\u0000b"/],
    [conversation(slot("a\u0000b")), /: user: expected a path without null characters, got /],
    ...["start", "end"].map(
      (field) =>
        [
          `{"audio":"a","text":"b","${field}":1e300}`,
          new RegExp(`: ${field}: expected seconds up to 10000000, got 1e\\+300`),
        ] as const,
    ),
    ['{"messages":{}}', /: messages: expected a list, got an object/],
    ['{"messages":[{"role":"user"}]}', /: messages\.0: expected role and content as texts, got an object/],
    ['{"messages":[]}', /: messages: expected one user and one assistant turn, got none/],
    [
      conversation("语音转写："),
      /: user: expected one <\|startofspeech\|>!PATH<\|endofspeech\|>, got "语音转写："/,
    ],
    [conversation(slot("a") + slot("b")), /: user: expected one <\|startofspeech\|>!PATH/],
    [conversation("<|startofspeech|>a<|endofspeech|>"), /: user: expected one <\|startofspeech\|>!PATH/],
    [conversation(slot("")), /: user: expected a path between .* got none/],
    [conversation(`${slot("a")}and then`), /: user: expected nothing after the audio, got "and then"/],
    [conversation(slot("a"), "b", [{ role: "user", content: "c" }]), /got user, assistant, user/],
    [
      conversation(slot("a")).replace("a helpful", "no"),
      /: messages\.0\.content: expected "You are a helpful assistant\.", got /,
    ],
  ])("%s", async (line, message) => {
    const path = file("bad.jsonl", `{"audio":"a","text":"b"}\n${line}\n{"audio":"c","text":"d"}\n`);
    await expect(all(path)).rejects.toThrow(DataError);
    const bad: BadLine[] = [];
    expect((await all(path, bad)).map((u) => u.line)).toEqual([1, 3]);
    expect(bad).toHaveLength(1);
    expect(bad[0].line).toBe(2);
    expect(bad[0].message).toMatch(message);
    expect(bad[0].message.startsWith(`${path}:2: `)).toBe(true);
  });

  test("bytes that are not UTF-8, and a line above a megabyte", async () => {
    const good = '{"audio":"a","text":"b"}\n';
    const bytes = Buffer.concat([
      Buffer.from(good),
      Buffer.from([0x22, 0xff, 0x22, 0x0a]),
      Buffer.alloc(3 << 20, 0x61),
      Buffer.from(`\n${good}`),
      Buffer.alloc((1 << 20) + 1, 0x61),
    ]);
    const bad: BadLine[] = [];
    expect((await all(file("bytes.jsonl", bytes), bad)).map((u) => u.line)).toEqual([1, 4]);
    expect(bad.map(({ line, message }) => [line, message.slice(at("bytes.jsonl").length)])).toEqual([
      [
        2,
        ":2: line: expected UTF-8, got other bytes; mend the line, or leave it out (data and train: --skip-bad)",
      ],
      [
        3,
        ":3: line: expected at most 1048576 bytes, got a longer one; mend the line, or leave it out (data and train: --skip-bad)",
      ],
      [
        5,
        ":5: line: expected at most 1048576 bytes, got a longer one; mend the line, or leave it out (data and train: --skip-bad)",
      ],
    ]);
  });

  test("lines across the pieces of a file", async () => {
    const lines = Array.from({ length: 3000 }, (_, i) =>
      JSON.stringify({ audio: "a", text: "字".repeat(i % 97) }),
    );
    const read = await all(file("long.jsonl", lines.join("\n")));
    expect(read.map(({ text }) => text.length)).toEqual(lines.map((_, i) => i % 97));
  });
});
