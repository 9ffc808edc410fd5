import { DecodeError } from "../../decode/loop.js";
import { FunasrError } from "../../errors.js";
import { AudioError } from "../../frontend/errors.js";
import { GpuError } from "../../gpu/errors.js";
import { PromptError } from "../../tokenizer/errors.js";
import { EngineError, type Failure } from "./errors.js";

/** Fields of an AudioError that say that the bytes are of no kind of audio that is read. */
const foreign = new Set(["container", "content", "file size", "type"]);
const params: Readonly<Record<string, string>> = { hotwords: "keywords[]", context: "prompt" };

/** An error of the engine as the server answers it. */
export function failureOf(error: unknown): Failure {
  if (error instanceof EngineError) {
    const { kind, message, param, retryAfterSeconds } = error;
    return {
      kind,
      message,
      ...(param !== undefined && { param }),
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    };
  }
  if (error instanceof PromptError) {
    const option = error.option.replace(/\[\d+\]$/, "");
    return { kind: "option", message: error.message, param: params[option] ?? option };
  }
  if (error instanceof AudioError) {
    const { field, message } = error;
    if (field === "prompt") return { kind: "option", message, param: "prompt" };
    if (field === "samples") return { kind: "long", message };
    return { kind: foreign.has(field) ? "unsupported" : "damaged", message };
  }
  if (error instanceof DecodeError) return { kind: "long", message: error.message }; // more tokens than the engine holds
  if (error instanceof GpuError) return { kind: "unavailable", message: error.message };
  if (error instanceof Error && error.name === "AbortError")
    return { kind: "cancelled", message: "the request was cancelled" };
  if (error instanceof FunasrError) return { kind: "internal", message: error.message };
  return { kind: "internal", message: "the engine failed" };
}
