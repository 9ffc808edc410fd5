import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { readInput } from "../corpus/plan/input.js";
import { readTable } from "./corpora/kaldi.js";
import { filesBelow, namesBelow } from "./files-below.js";
import { readItems } from "./json-items.js";
import { readUtterances } from "./utterances.js";

// Plan: files that hold no lines of UTF-8, in every reader of text: one error that names the file, not
// one a line. Directories with links that lead back: each directory once.

const folder = mkdtempSync(join(tmpdir(), "foreign-"));
afterAll(() => rmSync(folder, { recursive: true }));

const text = '{"audio":"a.wav","text":"x"}\n'.repeat(3);
const big = (): Buffer => Buffer.from(text, "utf16le").swap16();
const files: [string, Uint8Array, string][] = [
  ["UTF-16", Buffer.from(`\ufeff${text}`, "utf16le"), "UTF-16; save it as UTF-8"],
  ["UTF-16 of the other order", Buffer.concat([Buffer.from([0xfe, 0xff]), big()]), "UTF-16; save it"],
  ["UTF-16 without a mark", Buffer.from(text, "utf16le"), "null characters: UTF-16, or no text; save it"],
  ["that of the other order", big(), "null characters: UTF-16, or no text; save it"],
  ["gzip", gzipSync(text), "a gzip file; unpack it"],
  ["zstd", Buffer.from("28b52ffd2400", "hex"), "a zstd file; unpack it"],
  ["xz", Buffer.from("fd377a585a00", "hex"), "an xz file; unpack it"],
  ["zip", Buffer.from("504b030414", "hex"), "a zip file; unpack it"],
];
const readers: Record<string, (file: string) => AsyncIterable<unknown> | Promise<unknown>> = {
  "JSONL of data": (file) => readUtterances(file, { onBad: () => undefined }),
  "JSONL of a corpus": readInput,
  "a table of Kaldi": readTable,
  "JSON by items": (file) => readItems(file, "audios"),
};
const cases = files.flatMap((file) => Object.keys(readers).map((reader) => [...file, reader] as const));

test.each(cases)("%s", async (name, bytes, message, reader) => {
  const file = join(folder, `${name}.jsonl`);
  writeFileSync(file, bytes);
  const read = async (): Promise<void> => {
    const found = readers[reader](file);
    if (found instanceof Promise) await found;
    else for await (const one of found) expect(one).toBeUndefined();
  };
  await expect(read()).rejects.toThrow(`${file}: content: expected text in UTF-8, got ${message}`);
});

test("links to directories are followed, and those that lead back end", async () => {
  const at = (...names: string[]): string => join(folder, "walk", ...names);
  mkdirSync(at("a", "b"), { recursive: true });
  mkdirSync(join(folder, "elsewhere"));
  for (const name of ["walk/a/1.wav", "walk/a/b/2.wav", "walk/z.txt", "elsewhere/3.wav"])
    writeFileSync(join(folder, name), "");
  symlinkSync("..", at("a", "up"));
  symlinkSync("../..", at("a", "b", "top"));
  symlinkSync("self", at("self"));
  symlinkSync("../elsewhere", at("c"));
  const found: string[] = [];
  for await (const name of filesBelow(at())) found.push(name);
  expect(found).toEqual(["a/1.wav", "a/b/2.wav", "c/3.wav", "self", "z.txt"].map((name) => join(name)));
  expect(await namesBelow(at(), ".wav")).toEqual(found.slice(0, 3));
});
