import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TokenizerError } from "./errors.js";
import { loadTiktoken } from "./tiktoken.js";

const root = new URL("../../", import.meta.url);
const file = readFileSync(new URL("models/demo/multilingual.tiktoken", root), "utf8");
const texts = JSON.parse(readFileSync(new URL("test/fixtures/tiktoken.json", root), "utf8")) as [
  string,
  number[],
][];

// Plan: tiktoken's ids for texts of all kinds, with bytes that add up to the text, and back; the
// damaged files.
describe("loadTiktoken", () => {
  const vocabulary = loadTiktoken(file, "demo");

  it.each(texts)("encodes %j as tiktoken does", (text, ids) => {
    const tokens = vocabulary.encode(text);
    expect(tokens.map(({ id }) => id)).toEqual(ids);
    expect(tokens.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(new TextEncoder().encode(text).length);
    expect(vocabulary.decode(ids)).toBe(text);
  });

  it("decodes ids outside the vocabulary to nothing, and half a character to U+FFFD", () => {
    expect(vocabulary.size).toBe(1032);
    expect(vocabulary.decode([...vocabulary.encode("on").map(({ id }) => id), 1032, 60_514])).toBe("on");
    const [first] = vocabulary.encode("한");
    expect(vocabulary.decode([first.id])).toBe("\ufffd");
  });

  it.each([
    ["no rank", "IQ==\n", "line 1"],
    ["no base64", "!! 0\n", "line 1"],
    ["base64 that is cut", "IQ= 0\n", "line 1"],
    ["a rank twice", "IQ== 0\nIg== 0\n", "line 2"],
    ["a token twice", "IQ== 0\nIQ== 1\n", "line 2"],
    ["a negative rank", "IQ== -1\n", "line 1"],
    ["a huge rank", "IQ== 99999999999\n", "line 1"],
    ["a byte without a token", "IQ== 0\n", "none for byte 0"],
    ["no line", "", "none for byte 0"],
    ["more lines than any vocabulary", "\n".repeat(400_001), "at most 400000"],
  ])("refuses %s", (_, text, says) => {
    expect(() => loadTiktoken(text, "f")).toThrow(TokenizerError);
    expect(() => loadTiktoken(text, "f")).toThrow(says);
  });
});
