import { expect, test } from "vitest";
import { DecodeError } from "../../decode/loop.js";
import { FunasrError } from "../../errors.js";
import { AudioError } from "../../frontend/errors.js";
import { PromptError } from "../../tokenizer/errors.js";
import { failureOf } from "./failure.js";

// Plan: each error of the library becomes the kind that HTTP has a status for, with the form's field
// where it has one; what is no error of the library keeps its message to itself.
const cases: [Error, object][] = [
  [new DecodeError("clip: expected 4096 tokens at most, got 5000"), { kind: "long" }],
  [new AudioError("clip", "samples", "10 at most", "11"), { kind: "long" }],
  [new AudioError("clip", "container", "WAV", "text"), { kind: "unsupported" }],
  [new AudioError("clip", "data.size", "8", "4"), { kind: "damaged" }],
  [new PromptError("hotwords[3]", "a word", "nothing"), { kind: "option", param: "keywords[]" }],
  [new FunasrError("anything"), { kind: "internal", message: "anything" }],
  [new Error("a path of the server"), { kind: "internal", message: "the engine failed" }],
];
test.each(cases)("%s", (error, failure) => expect(failureOf(error)).toMatchObject(failure));
