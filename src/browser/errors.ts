import { FunasrError } from "../errors.js";

/** Why the engine does not run in this browser, or cannot take this model. */
export type BrowserErrorCode =
  /** The browser has no WebGPU. */
  | "no-webgpu"
  /** WebGPU has no adapter. */
  | "no-adapter"
  /** The adapter's limits or its memory are too small for the checkpoint. */
  | "limits"
  /** The browser grants less storage than the download takes. */
  | "quota"
  /** A file cannot be fetched, and is not in the cache. */
  | "network"
  /** A file is not the one that its listing names. */
  | "damaged"
  /** A call that the worker does not take now. */
  | "usage"
  /** The worker ended, or did not start. */
  | "worker";

/** A refusal of the engine in a browser. The message is one line with advice. */
export class BrowserError extends FunasrError {
  constructor(
    readonly code: BrowserErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * An error of the engine in its worker: `name` and `message` are those that it has there, such as
 * AudioError or GpuError.
 */
export class EngineFailure extends FunasrError {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** An error as it passes from the worker to the page. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly code?: BrowserErrorCode;
}

/** The error of a message from the worker. */
export function fromWire({ name, message, code }: WireError): BrowserError | EngineFailure {
  return code === undefined ? new EngineFailure(name, message) : new BrowserError(code, message);
}
