import { expect, test } from "vitest";
import { SpokenStream, withoutSilenceMarks } from "./silence-marks.js";

// Plan: marks of silence are cut wherever they stand and in whatever pieces they come; words that
// look like them stay, and no text waits that begins no mark.

const texts = [
  ["/sil", ""],
  ["/sil/sil /sil", ""],
  ["Hello /sil there.", "Hello there."],
  ["Hello /sil /sil/sil there.", "Hello there."],
  ["/sil Hello", "Hello"],
  ["你好/sil我们", "你好我们"],
  ["there/sil.", "there."],
  ["<|nospeech|> <sil>", ""],
  ["[SILENCE] yes [blank_audio]", "yes"],
  ["a file in /silver/ or /silo", "a file in /silver/ or /silo"],
  ["the signal/noise ratio", "the signal/noise ratio"],
  ["你好 /noise", "你好"],
  ["two  spaces stay", "two  spaces stay"],
  ["1/2 < 3/4 [really] /s", "1/2 < 3/4 [really] /s"],
  ["𠮷/noise", "𠮷"],
  ["two  spaces  /sil  stay", "two  spaces stay"],
  ["a  <sil>  /sil  [noise]  b  c", "a b  c"],
] as const;

test.each(texts)("%j", (text, kept) => {
  expect(withoutSilenceMarks(text)).toBe(kept);
});

/** A stream whose tokens are pieces of a text of so many characters. */
function pieces(text: string, length: number): string {
  const parts = Array.from({ length: Math.ceil(text.length / length) }, (_, i) =>
    text.slice(i * length, (i + 1) * length),
  );
  const stream = new SpokenStream({ push: (id) => parts[id], flush: () => "" });
  return parts.map((_, id) => stream.push(id)).join("") + stream.flush();
}

test.each(texts)("%j in pieces", (text, kept) => {
  for (let length = 1; length <= 8; length++) expect(pieces(text, length).trim()).toBe(kept);
});

test("only what may begin a mark waits", () => {
  const parts = ["yes", " or", " no", "/", "s", "o", "/sil", " ", "well"];
  const stream = new SpokenStream({ push: (id) => parts[id], flush: () => "" });
  expect(parts.map((_, id) => stream.push(id))).toEqual([
    "yes",
    " or",
    " no",
    "",
    "",
    "/so",
    "",
    "",
    " well",
  ]);
});

test("a long run of spaces takes as long as its length", () => {
  const text = `a${" ".repeat(300_000)}b/sil`;
  expect(withoutSilenceMarks(text)).toBe(text.slice(0, -4));
  const stream = new SpokenStream({ push: () => text, flush: () => "" });
  expect(stream.push(0)).toBe(text.slice(0, -4));
});
