import { expect, test } from "vitest";
import { Agreement } from "./agreement.js";

// Plan: what is stable after decodings of a text that grows: whole words and characters on which two
// in a row agree (more on the first ones), without the punctuation at their end; a stable text never changes.
const utf8 = new TextDecoder();
const bytes = (text: string): number[] => [...new TextEncoder().encode(text)];
const decode = (ids: readonly number[]): string => utf8.decode(Uint8Array.from(ids));

test.each<[string, readonly string[], string, string]>([
  ["one decoding", ["hello"], "", "hello"],
  ["a word that goes on", ["hello wor", "hello world"], "hello", " world"],
  ["a word that one decoding ends", ["hello for", "hello forest fire"], "hello", " forest fire"],
  ["the same twice", ["hello world", "hello world"], "hello world", ""],
  ["punctuation at the end", ["Hello world.", "Hello world."], "Hello world", "."],
  ["punctuation that moves", ["Hello.", "Hello, world."], "Hello", ", world."],
  ["punctuation inside", ["Hello, who", "Hello, what"], "Hello,", " what"],
  ["characters without spaces", ["今天天", "今天天气"], "今天天", "气"],
  ["a character of which only some bytes agree", ["今天气", "今天旦"], "今天", "旦"],
  ["two scripts", ["打开 wi", "打开 wifi"], "打开", " wifi"],
  ["an apostrophe", ["it'", "it's me"], "", "it's me"],
  ["nothing in common", ["one two", "won too"], "", "won too"],
  ["a mark of silence", ["/sil", "/sil"], "", ""],
  ["a mark of silence behind words", ["yes /sil", "yes /sil no"], "yes", " no"],
  ["a decoding that takes it back", ["a b c", "a b c", "a x"], "a b c", ""],
  ["a third decoding", ["a b", "a b c", "a b c d"], "a b c", " d"],
])("%s", (_, texts, stable, tentative) => {
  const agreement = new Agreement(decode, 2);
  for (const text of texts) agreement.take(bytes(text));
  expect(agreement.text).toEqual({ stable, tentative });
  expect(decode(agreement.prefix).trim()).toBe(stable);
});

test.each<[string, readonly string[], string]>([
  ["two decodings", ["a b", "a b"], ""],
  ["three", ["a b", "a b c", "a b c d"], "a b"],
  ["the first one differs", ["x", "a b c", "a b c"], ""],
  ["two that follow three", ["a b", "a b", "a b c", "a b c d"], "a b c"],
])("three decodings for the first words: %s", (_, texts, stable) => {
  const agreement = new Agreement(decode, 3);
  for (const text of texts) agreement.take(bytes(text));
  expect(agreement.text.stable).toBe(stable);
});

test("a final text begins with the stable one", () => {
  const agreement = new Agreement(decode, 2);
  for (const text of ["one two", "one two three"]) agreement.take(bytes(text));
  expect(agreement.final("one two four.")).toBe("one two four.");
  expect(agreement.final("one.")).toBe("one two"); // a loop was cut
});
