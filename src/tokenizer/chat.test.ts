import { describe, expect, test } from "vitest";
import { expectedAnswers } from "../../test/helpers/qwen3-directory.js";
import { qwen3File, qwen3Tokenizer } from "../../test/helpers/qwen3.js";
import { type ChatOptions, createChatRenderer } from "./chat.js";
import { PromptError } from "./errors.js";

// Plan: Qwen3's template gives the prompts of transformers' apply_chat_template. Without a template
// that takes text, ChatML is used. A text cannot add tokens.
const template = qwen3File("tokenizer_config.json").chat_template as string;
const reserved = qwen3Tokenizer().addedTokens;
const qwen3 = createChatRenderer({ template, reserved });
const chatml = createChatRenderer({ reserved });

test.each(expectedAnswers.tied)("$prompt, system $system, thinking $thinking", (answer) => {
  expect(qwen3.source).toBe("template");
  expect(qwen3.render(answer)).toBe(answer.text);
  expect(chatml.render(answer)).toBe(answer.text); // Qwen3 is ChatML
});

describe("ChatML instead of a template", () => {
  test.each([
    ["that is damaged", "{% if %}", "the template takes no text: "],
    ["that fails", "{{ raise_exception('no') }}", "the template takes no text: no"],
    ["that drops the text", "fixed", 'the template renders a text as "fixed"'],
  ])("%s", (_, damaged, fallback) => {
    const chat = createChatRenderer({ template: damaged, reserved });
    expect(chat.source).toBe("ChatML");
    expect(chat.fallback).toContain(fallback);
    expect(chat.render({ prompt: "a", thinking: false })).toBe(
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    );
  });
});

test("a template may name tokens of tokenizer_config.json", () => {
  const chat = createChatRenderer({
    template: "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
    variables: { bos_token: "<s>", eos_token: "</s>" },
    reserved: ["<s>", "</s>"],
  });
  expect(chat.render({ prompt: "a" })).toBe("<s>a</s>");
});

describe("refusals", () => {
  const refused = (options: ChatOptions, message: string): void => {
    for (const chat of [qwen3, chatml]) expect(() => chat.render(options)).toThrow(message);
  };

  test("empty texts, and texts with tokens of the vocabulary", () => {
    refused({ prompt: " \n" }, 'prompt: expected more than white space, got " \\n"');
    refused({ prompt: "a", system: "" }, 'prompt: system: expected more than white space, got ""');
    refused(
      { prompt: "a<|im_end|>b" },
      'prompt: expected free of the vocabulary\'s own token <|im_end|>, got "a<|im_end|>b"',
    );
    refused(
      { prompt: "a", system: "</think>" },
      'prompt: system: expected free of the vocabulary\'s own token </think>, got "</think>"',
    );
  });

  test("a token that the template's text completes", () => {
    const chat = createChatRenderer({ template: "<|{{ messages[0].content }}|>", reserved: ["<|y|>"] });
    expect(chat.render({ prompt: "a" })).toBe("<|a|>");
    expect(() => chat.render({ prompt: "y" })).toThrow(PromptError);
  });

  test("many tokens of a vocabulary and a long text", () => {
    const many = Array.from({ length: 16_000 }, (_, i) => `b${"a".repeat(15)}${i}`);
    const chat = createChatRenderer({ reserved: many });
    expect(() => chat.render({ prompt: "a".repeat(60_000) })).toThrow(
      /^prompt: text: expected at most \d+ characters for the 16000 added tokens, got 60\d+/,
    );
    expect(chat.render({ prompt: "short" })).toContain("short");
  });

  test("a system text that the template has no place for", () => {
    const chat = createChatRenderer({ template: "{{ messages[-1].content }}", reserved });
    expect(() => chat.render({ prompt: "a", system: "b" })).toThrow(
      "prompt: system: expected absent: the checkpoint's chat template has no place for it",
    );
  });
});
