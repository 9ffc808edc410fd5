import { describe, expect, test } from "vitest";
import { funasrTemplate } from "./funasr-template.js";
import { createPromptRenderer } from "./prompt.js";
import type { PromptOptions } from "./prompt.js";

// Whatever is asked, the template renders what the rules give: with and without a system turn and the empty thought.

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
