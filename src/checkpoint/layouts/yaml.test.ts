import { expect, test } from "vitest";
import { refusal } from "../../../test/helpers/checkpoint.js";
import { parseYamlObject } from "./yaml.js";

// Plan: config.yaml follows the rules of Python's reader. Any text quickly gives a mapping or a
// one-line error.

test("values as PyYAML and OmegaConf read them", () => {
  const text = "a: on\nb: 5.0e-06\nc: null\nd: ${a.b}\ne: {f: [1, 'x']}\ng: &g {h: 1}\ni:\n  <<: *g\n";
  expect(parseYamlObject(text, "x")).toEqual({
    a: true,
    b: 5e-6,
    c: null,
    d: "${a.b}",
    e: { f: [1, "x"] },
    g: { h: 1 },
    i: { h: 1 },
  });
});

test.each([
  ["- 1", "x: content: expected a mapping, got [1]"],
  ["", "x: content: expected a mapping, got null"],
  ["a: !!python/object/apply:os.system ['id']", /^x: content: expected YAML, got Unresolved tag/],
  ["a: !!js/function 'x'", /^x: content: expected YAML, got Unresolved tag/],
  ["a: 1\na: 2", /^x: content: expected YAML, got Map keys must be unique/],
  ["a: [", /^x: content: expected YAML, got Flow sequence in block collection/],
  ["{".repeat(100), "x: content: expected at most 64 levels, got more"],
  ["- ".repeat(100) + "1", "x: content: expected at most 64 levels, got more"],
  ["? ".repeat(100) + "1", "x: content: expected at most 64 levels, got more"],
  [
    Array.from({ length: 100 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"),
    "x: content: expected at most 64 levels, got more",
  ],
  ["a: ".padEnd(64_001, "b"), "x: content: expected at most 64000 characters, got 64001"],
])("refused: %.30j", async (text, message) => {
  const error = await refusal(() => parseYamlObject(text, "x"));
  if (typeof message === "string") expect(error.message).toBe(message);
  else expect(error.message).toMatch(message);
});

// Plan: texts that the library would check for a minute; vitest's time limit would report that.
test.each([
  ["equal keys", `k: {${"a,".repeat(30_000)}a}`, "Map keys must be unique"],
  ["commas of nothing", `k: [${",".repeat(60_000)}]`, "Unexpected , in flow sequence at line 1, column 6"],
  ["equal keys of a block", "a: 1\n".repeat(12_000), "Map keys must be unique"],
  [
    "an alias for each anchor",
    Array.from({ length: 2_000 }, (_, i) => `a${i}: &b${i} 1\nc${i}: *b${i}`).join("\n"),
    "more than 100 aliases",
  ],
  [
    "aliases that share",
    Array.from({ length: 30 }, (_, i) => `a${i}: &a${i} [${i ? `*a${i - 1}, *a${i - 1}` : 1}]`).join("\n"),
    "Excessive alias count",
  ],
])("refused: %s", async (_, text, reason) => {
  expect((await refusal(() => parseYamlObject(text, "x"))).message).toContain(reason);
});

test("8,000 different keys", () => {
  const keys = Array.from({ length: 8_000 }, (_, i) => `k${i}`);
  expect(Object.keys(parseYamlObject(`{${keys.join(",")}}`, "x"))).toEqual(keys);
});
