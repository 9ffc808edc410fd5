import { expect, test } from "vitest";
import { FunasrError } from "../../errors.js";
import { AudioError } from "../../frontend/errors.js";
import { GpuError } from "../../gpu/errors.js";
import { failureOf } from "./failure.js";

// Plan: what is wrong with an item is its record; what is wrong with the worker's machine or device
// at the moment is none, so that another worker does the shard.
const cases: [Error, string][] = [
  [new AudioError("a.wav", "data.size", "8", "4"), "audio"],
  [new FunasrError("decode: no room for the prompt"), "model"],
  [new GpuError("device: expected 10 bytes more, got none"), "passing"],
  [Object.assign(new Error("EIO"), { code: "EIO", syscall: "read" }), "passing"],
  [Object.assign(new TypeError("null bytes"), { code: "ERR_INVALID_ARG_VALUE" }), "unreadable"],
  [Object.assign(new Error("ENOENT"), { code: "ENOENT", syscall: "open" }), "missing"],
];
test.each(cases)("%s", (error, kind) => expect(failureOf(error, "a.wav").kind).toBe(kind));
