import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { TRANSLATION } from "./translation.js";

test("the miniature's training used these wordings", () => {
  const file = new URL("../../experiments/migration/recipe/wordings.json", import.meta.url);
  const { speech, text } = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  expect({ speech, text }).toEqual(TRANSLATION);
});
