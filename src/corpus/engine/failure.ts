import { FunasrError, errorCode, oneLine } from "../../errors.js";
import { GpuError } from "../../gpu/errors.js";
import { AudioError } from "../../frontend/errors.js";
import { describeSystem } from "../../node/system-error.js";
import { PromptError } from "../../tokenizer/errors.js";
import type { FailureKind } from "../item.js";

const missing = new Set(["ENOENT", "ENOTDIR", "ENAMETOOLONG"]);
const unreadable = new Set(["EACCES", "EPERM", "ELOOP", "EISDIR"]);

/** Why an item has no text. "passing": the system refused it for the moment. */
export function failureOf(
  error: unknown,
  file: string,
): { readonly kind: FailureKind | "passing"; readonly message: string } {
  if (error instanceof AudioError) return { kind: "audio", message: error.message };
  if (error instanceof PromptError) return { kind: "prompt", message: error.message };
  if (error instanceof GpuError) return { kind: "passing", message: error.message }; // of this worker's device
  if (error instanceof FunasrError) return { kind: "model", message: error.message };
  const code = errorCode(error);
  if (code === undefined || !(error instanceof Error))
    return { kind: "internal", message: oneLine(String(error)) };
  const message = oneLine(`${file}: ${describeSystem(error)}`);
  if (missing.has(code)) return { kind: "missing", message };
  const isName = code === "ERR_INVALID_ARG_VALUE"; // a null character
  return { kind: isName || unreadable.has(code) ? "unreadable" : "passing", message };
}
