import { FunasrError } from "../../errors.js";

/**
 * Why a request to the engine failed.
 * - unsupported: no audio that can be read; damaged: audio that cannot be used; long: too much of it
 * - option: an option of the request is wrong (`param` names it)
 * - busy: too many wait; unavailable: the engine is not there or failed; deadline: no result in time
 * - cancelled: nobody waits for the result; internal: a fault of this program
 */
export type FailureKind =
  | "unsupported"
  | "damaged"
  | "long"
  | "option"
  | "busy"
  | "unavailable"
  | "deadline"
  | "cancelled"
  | "internal";

/** A failure as it crosses from the engine's process. */
export interface Failure {
  readonly kind: FailureKind;
  readonly message: string;
  /** The option that is wrong. */
  readonly param?: string;
  /** When to try again, seconds. */
  readonly retryAfterSeconds?: number;
}

/** A request to the engine failed. */
export class EngineError extends FunasrError implements Failure {
  readonly kind: FailureKind;
  readonly param?: string;
  readonly retryAfterSeconds?: number;

  constructor({ kind, message, param, retryAfterSeconds }: Failure) {
    super(message);
    this.kind = kind;
    if (param !== undefined) this.param = param;
    if (retryAfterSeconds !== undefined) this.retryAfterSeconds = retryAfterSeconds;
  }
}
