import { describe, expect, it } from "vitest";
import { CheckpointError, ConfigError } from "./formats/errors.js";
import { FileError, FunasrError } from "./errors.js";
import { AudioError, FrontendConfigError } from "./frontend/errors.js";
import { PromptError, TokenizerError } from "./tokenizer/errors.js";

// Plan: every error about a file is one line of one form, whatever its file is called.
describe("FileError", () => {
  const file = "a\nb\u2028.wav";
  const parts = { file, field: "size", expected: "1", got: "2\r" };
  it.each([
    new CheckpointError(parts),
    new ConfigError(parts),
    new AudioError(file, "size", "1", "2\r"),
    new FrontendConfigError(file, "size", "1", "2\r"),
    new TokenizerError(file, "size", "1", "2\r"),
  ])("$name", (error) => {
    expect(error).toBeInstanceOf(FileError);
    expect(error).toBeInstanceOf(FunasrError);
    expect(error.message).toBe("a\\u000ab\\u2028.wav: size: expected 1, got 2\\u000d");
    expect(error).toMatchObject(parts);
  });

  it("ends with the advice", () => {
    expect(new AudioError("a.wav", "length", "less", 3, { advice: "cut it" }).message).toBe(
      "a.wav: length: expected less, got 3; cut it",
    );
    expect(new PromptError("context", "text", "nothing").message).toBe(
      "prompt: context: expected text, got nothing",
    );
  });
});
