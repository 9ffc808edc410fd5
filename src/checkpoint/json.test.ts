import fc from "fast-check";
import { expect, test } from "vitest";
import { refusal } from "../../test/helpers/checkpoint.js";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { CheckpointError } from "../formats/errors.js";
import { JsonCursor, parseJsonObject } from "./json.js";

// Plan: the reader agrees with JSON.parse on every text, except that it refuses a name that occurs
// twice.

/** The value, or undefined if the text is refused. */
function ours(text: string): unknown {
  try {
    const cursor = new JsonCursor(text, "f", "text");
    const value = cursor.value();
    cursor.end();
    return { value };
  } catch (error) {
    if (error instanceof CheckpointError) return undefined;
    throw error;
  }
}

function theirs(text: string): unknown {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

test("agrees with JSON.parse on valid JSON", () => {
  fc.assert(
    fc.property(fc.json({ depthSize: "large" }), fc.constantFrom("", " ", "\n\t\r "), (text, space) => {
      expect(ours(space + text + space)).toEqual(theirs(text));
    }),
    { numRuns: fuzzRuns(1000) },
  );
});

test("agrees with JSON.parse on nearly valid JSON", () => {
  const unit = fc.constantFrom(
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "\\",
    "\\u00e9",
    "\\n",
    "\n",
    " ",
    "-",
    "0",
    "1",
    ".",
    "e",
    "+",
    "true",
    "null",
    "a",
    "é",
  );
  let valid = 0;
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit, maxLength: 6 }), fc.string()), (text) => {
      const want = theirs(text);
      if (want) valid++;
      expect(ours(text)).toEqual(want);
    }),
    { numRuns: fuzzRuns(4000) },
  );
  expect(valid).toBeGreaterThan(20);
});

test.each([
  "0",
  "-0",
  "0.5",
  "-1.25e3",
  "1E-2",
  "1e+400",
  "9007199254740993",
  '"\\ud83d\\ude00"',
  '"\\/"',
  '{"__proto__":1}',
])("%s as JSON.parse reads it", (text) => {
  expect(ours(text)).toStrictEqual(theirs(text));
});

test("refusals: a name twice at any depth, a top that is not an object, text after it", async () => {
  const message = async (text: string): Promise<string> =>
    (await refusal(() => parseJsonObject(text, "f", "text"))).message;
  expect(await message('{"a":[{"b":1,"b":2}]}')).toBe('f: text: expected every name once, got "b" twice');
  expect(await message("[1]")).toBe("f: text: expected a JSON object, got [1]");
  expect(await message("{} {}")).toMatch(/^f: text at character 3: expected the end, got "{"/);
});

test("more than 2,000,000 values are refused", async () => {
  const text = `{"a":[${"1,".repeat(2_000_000)}1]}`;
  const { message } = await refusal(() => parseJsonObject(text, "f", "content"));
  expect(message).toContain("at most 2000000 values");
});
