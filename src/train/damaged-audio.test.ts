import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { useTraining } from "../../test/helpers/training-runs.js";
import { openSession } from "./session.js";

// Plan: audio that lost something is used with the warning that transcribe gives, once a file,
// whether its rows are computed or cached; with `strict` its line cannot be used, cached or not.
// Audio longer than the model takes is refused by its header.
const gpu = useGpu();
const { directory, setup } = useTraining(gpu);

const file = (name: string): Buffer =>
  readFileSync(new URL(`../../test/fixtures/audio/${name}`, import.meta.url));
const cut = (name: string, share: number): Buffer => {
  const bytes = file(name);
  return bytes.subarray(0, Math.floor(bytes.length * share));
};
/** An M4A cut in a box behind its samples. */
const cutM4a = (): Buffer =>
  Buffer.concat([file("speech.m4a"), Buffer.from("\0\0\x13\x88moof", "latin1"), Buffer.alloc(100)]);
/** Stereo whose channels cancel each other, of 0.1 s. */
const cancelling = (): Buffer => {
  const bytes = Buffer.alloc(44 + 4 * 1600);
  file("speech.wav").copy(bytes, 0, 0, 44);
  bytes.writeUInt16LE(2, 22);
  bytes.writeUInt16LE(4, 32);
  bytes.writeUInt32LE(bytes.length - 44, 40);
  for (let i = 0; i < 1600; i++) {
    const sample = Math.round(9000 * Math.sin(i / 5));
    bytes.writeInt16LE(sample, 44 + 4 * i);
    bytes.writeInt16LE(-sample, 46 + 4 * i);
  }
  return bytes;
};

const cases: [string, () => Buffer, string][] = [
  ["cut.wav", () => cut("speech.wav", 0.7), "0.35 s could be read of the 0.50 s in the header"],
  ["cut-adpcm.wav", () => cut("adpcm-ima-mono.wav", 0.7), "s could be read of the"],
  ["cut.mp3", () => cut("speech.mp3", 0.6), "frames that it counts are there"],
  ["cut.ogg", () => cut("speech.ogg", 0.8), "cut short: its last page ends early"],
  ["cut.opus", () => cut("speech.opus", 0.8), "cut short: its last page ends early"],
  ["cut-flac.ogg", () => cut("flac.ogg", 0.9), "cut short: its last page ends early"],
  ["cut.flac", () => cut("speech.flac", 0.95), "of its 8000 samples could be decoded"],
  ["cut.m4a", cutM4a, "cut short: its last box ends early"],
  ["cut.aac", () => cut("speech.aac", 0.7), "cut short: its last frame ends early"],
  ["cut.webm", () => cut("speech.webm", 0.7), "cut short: an element passes its end"],
];

/**
 * Opens a session on the utterances, each file twice; gives its messages, and its error where it
 * has one.
 */
async function opened(names: readonly string[], change: { cache: string; strict?: boolean }) {
  const audio = names.flatMap((name) => [name, name]).map((name) => join(directory().path, name));
  const utterances = audio.map((path, i) => ({
    audio: path,
    text: "now",
    line: i + 1,
    end: i % 2 ? 0.1 : undefined,
  }));
  const messages: string[] = [];
  const onBad = (message: string): unknown => messages.push(message);
  try {
    const data = { name: "data.jsonl", utterances };
    const session = await openSession(gpu(), setup({ data, onBad, ...change }));
    session.free();
    return { messages, error: undefined, computed: session.run.corpus.computed };
  } catch (error) {
    return { messages, error: String(error), computed: undefined };
  }
}

test.each(cases)("%s", async (name, bytes, said) => {
  const path = join(directory().path, name);
  const cache = `${path}.cache`;
  writeFileSync(path, bytes());
  const refused = await opened([name], { cache, strict: true });
  expect(refused.error).toContain("expected 2 lines that can be used, got 2 that cannot");
  for (const [i, message] of refused.messages.entries())
    expect(message).toMatch(
      new RegExp(
        `^data\\.jsonl:${i + 1}: ${path}: audio: expected a whole file \\(--strict\\), got .*${said}`,
      ),
    );

  const fresh = await opened([name], { cache: `${cache}-2` });
  expect(fresh).toMatchObject({ error: undefined, computed: 2 });
  expect(fresh.messages).toEqual([expect.stringMatching(new RegExp(`^warning: ${path}: .*${said}`))]);
  const cached = await opened([name], { cache: `${cache}-2` });
  expect(cached).toEqual({ ...fresh, computed: 0 });
  expect(await opened([name], { cache: `${cache}-2`, strict: true })).toEqual(refused);
});

test("whole files are taken by --strict, without a word", async () => {
  for (const name of ["speech.wav", "speech.mp3"]) writeFileSync(join(directory().path, name), file(name));
  const cache = join(directory().path, "whole");
  const { messages, error } = await opened(["speech.wav", "speech.mp3"], { cache, strict: true });
  expect({ messages, error }).toEqual({ messages: [], error: undefined });
});

test("channels that cancel each other are reported, and no damage", async () => {
  const path = join(directory().path, "cancel.wav");
  writeFileSync(path, cancelling());
  const want = [`warning: ${path}: the channels cancel each other; only the left one is used`];
  for (const computed of [2, 0])
    expect(await opened(["cancel.wav"], { cache: `${path}.cache`, strict: true })).toEqual({
      messages: want,
      error: undefined,
      computed,
    });
});

// Plan: a header alone decides: nothing else is wrong with the first, and nothing else is there of
// the second.
test.each(["long.wav", "long.flac"])("%s is refused by its header", async (name) => {
  const path = join(directory().path, name);
  const bytes = file(name.replace("long", "speech"));
  if (name === "long.wav") bytes.writeUInt32LE(2 ** 25 - 44, 40);
  else bytes.writeUInt32BE(16_000 * 100_000, 22);
  writeFileSync(path, name === "long.wav" ? bytes.subarray(0, 44) : bytes.subarray(0, 1000));
  if (name === "long.wav") truncateSync(path, 2 ** 25);
  const messages: string[] = [];
  const data = { name: "data.jsonl", utterances: [{ audio: path, text: "now", line: 1 }] };
  const onBad = (message: string): unknown => messages.push(message);
  await expect(openSession(gpu(), setup({ data, onBad }))).rejects.toThrow("got 1 that cannot");
  expect(messages).toEqual([
    expect.stringMatching(
      /^data\.jsonl:1: .*: prompt: expected at most \d+ s, which fill the model's positions, got/,
    ),
  ]);
});
