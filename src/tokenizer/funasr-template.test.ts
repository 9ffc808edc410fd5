import { describe, expect, test } from "vitest";
import { funasrTemplate } from "./funasr-template.js";
import { createPromptRenderer } from "./prompt.js";
import type { PromptOptions } from "./prompt.js";

// Plan: for all options the template renders the prompt of the rules, with and without system turn
// and empty thought.

const reserved = ["<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|audio|>"];
const asked: PromptOptions[] = [
  {},
  { language: "zh" },
  { language: "en", itn: false },
  { language: "ja", hotwords: ["开放时间", "it's"] },
  { hotwords: ["a"] },
  { context: "a 'quoted' \\ line\nand another" },
  { context: "x", hotwords: ["y", "z"], language: "en", itn: false },
];

describe.each([
  {},
  { systemTurn: false },
  { emptyThought: true },
  { systemTurn: false, emptyThought: true, audioToken: "<|audio|>" },
])("%j", (setup) => {
  const rules = createPromptRenderer({ reserved, ...setup });
  const { audioToken = "<|object_ref_start|>" } = setup as { audioToken?: string };
  const template = createPromptRenderer({ template: funasrTemplate(setup), reserved, audioToken });

  test.each(asked)("%j", (options) => {
    expect(template.source).toBe("template");
    expect(template.render(options)).toBe(rules.render(options));
  });
});
