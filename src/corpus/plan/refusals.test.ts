import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { CorpusDirectory } from "../directory.js";
import { planCorpus } from "./plan.js";

// Plan: inputs and outputs that are not what they are called: one line each, and no plan.

const folder = mkdtempSync(join(tmpdir(), "refusals-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
const write = (name: string, text: string): string => {
  mkdirSync(dirname(path(name)), { recursive: true });
  writeFileSync(path(name), text);
  return path(name);
};
const files = { name: "none", sha256: "0" };
const skipped: string[] = [];
const plan = (input: string, out: string): ReturnType<typeof planCorpus> =>
  planCorpus({
    inputs: [input],
    out,
    version: "1",
    model: files,
    vad: files,
    onSkip: (place, why) => skipped.push(`${place}: ${why}`),
  });
const list = write("list.jsonl", '{"audio":"a.wav","duration":1}\n');

test.each([
  [
    "wav.scp with an id twice",
    () => write("twice/wav.scp", "u1 a.wav\nu2 b.wav\nu1 c.wav\n"),
    /twice.wav\.scp:3: id: expected one used once, got "u1"/,
  ],
  [
    "segments with an id twice",
    () => (write("cuts/wav.scp", "r a.wav\n"), write("cuts/segments", "s r 0 1\ns r 1 2\n"), path("cuts")),
    /cuts.segments:2: id: expected one used once/,
  ],
  [
    "a link to a directory with a tar's name",
    () => (
      mkdirSync(path("real")),
      mkdirSync(path("linked")),
      symlinkSync("../real", path("linked/x.tar")),
      path("linked")
    ),
    /linked.x\.tar: type: expected a file, got a directory/,
  ],
  [
    "bytes with a tar's name",
    () => write("noise.tar", "\x80\xff".repeat(1000)),
    /noise\.tar: byte 0: expected a header of a tar and its file, got something else/,
  ],
] as const)("input: %s", async (name, make, message) => {
  await expect(plan(make(), path(`out ${name}`))).rejects.toThrow(message);
});

test("a directory with a tar's name among the audio is walked", async () => {
  write("mixed/x.tar/a.wav", "");
  const { manifest } = await plan(path("mixed"), path("out mixed"));
  expect(manifest).toMatchObject({ utterances: 1, unknown: 1 });
});

test("a path of wav.scp with a null character is skipped", async () => {
  const { manifest } = await plan(write("null/wav.scp", "u1 a\0.wav\nu2 b.wav\n"), path("out null"));
  expect(manifest).toMatchObject({ utterances: 1, skipped: 1 });
  expect(skipped).toEqual([`${path("null/wav.scp")}:1: a path with a null character`]);
});

test("output: a file", async () => {
  await expect(plan(list, list)).rejects.toThrow(
    `${list}: directory: expected a new or an empty directory, got a file; name another`,
  );
});

// Plan: a plan whose manifest was changed by hand: [what, change].
test.each([
  ["an option", (text: string) => text.replace('"options": {', '$&"itn": false')],
  ["the version", (text: string) => text.replace('"version": "1"', '"version": "2"')],
  ["a field's type", (text: string) => text.replace('"lora": []', '"lora": {}')],
  ["a field is gone", (text: string) => text.replace(/"vad": {[^}]*},/, "")],
  ["the identity", (text: string) => text.replace(/"id": "./, "$&0")],
  ["the end", (text: string) => text.slice(0, -3)],
])("a plan of which %s was changed is refused", async (name, change) => {
  const out = path(`changed ${name}`);
  await plan(list, out);
  await CorpusDirectory.open(out);
  const file = join(out, "corpus.json");
  const text = readFileSync(file, "utf8");
  expect(change(text)).not.toBe(text);
  writeFileSync(file, change(text));
  await expect(CorpusDirectory.open(out)).rejects.toThrow(
    `${file}: content: expected the plan that was written, got another, or none; it was changed since it was planned: plan again`,
  );
});
