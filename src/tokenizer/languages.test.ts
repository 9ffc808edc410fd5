import { describe, expect, it } from "vitest";
import { funasrTemplate } from "./funasr-template.js";
import { LANGUAGE_CODES, englishName, knownLanguages, languageCode, languageName } from "./languages.js";
import { createPromptRenderer } from "./prompt.js";

// Plan: all 31 languages by code, Chinese and English name. Other Chinese names do not change;
// other text is refused.
describe("languages", () => {
  it("are 31, each with three names", () => {
    expect(LANGUAGE_CODES).toHaveLength(31);
    for (const code of LANGUAGE_CODES)
      for (const name of [code, languageName(code)!, englishName(code), code.toUpperCase()])
        expect(languageCode(name)).toBe(code);
  });

  it.each([
    ["th", "语音转写成泰语："],
    ["Thai", "语音转写成泰语："],
    ["泰语", "语音转写成泰语："],
    ["yue", "语音转写成粤语："],
    ["四川话", "语音转写成四川话："],
  ])("prompt of %s, by the rules and by the template", (language, words) => {
    for (const template of [undefined, funasrTemplate({ audioTokenRule: "all" })]) {
      const text = createPromptRenderer({ template, reserved: [] }).render({ language });
      expect(text).toContain(`user\n${words}<|object_ref_start|>`);
    }
  });

  it.each(["", "fr", "klingon", "泰", "泰语：", "<|im_end|>", "constructor"])("refuses %j", (language) => {
    const render = (): string => createPromptRenderer({ reserved: [] }).render({ language });
    expect(render).toThrow(/language.*one of zh, en, ja.*or a name/);
  });
});

// Plan: a checkpoint's languages by its template, or else by its audio-token rule.
it.each([
  ["no template, all frames", undefined, "all", 31],
  ["no template, low frame rate", undefined, "low_frame_rate", 3],
  ["MLT's written template", funasrTemplate({ audioTokenRule: "all" }), "all", 31],
  ["Nano's written template, all frames", funasrTemplate({}), "all", 3],
  ["a template that names none", "{{ messages }}", "all", undefined],
] as const)("known languages: %s", (_, template, rule, count) => {
  expect(knownLanguages(template, rule)?.length).toBe(count);
});
