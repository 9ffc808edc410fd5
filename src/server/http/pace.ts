import type { IncomingMessage } from "node:http";
import { ApiError } from "./api-error.js";

/** Bytes of a body that have to come in each window of time. */
const leastBytes = 4096;

/** The watch over the speed of a body. */
export interface Pace {
  /** Rejects with ApiError 408 where fewer bytes come in a window than the least. */
  readonly tooSlow: Promise<never>;
  readonly stop: () => void;
}

/**
 * Watches how fast a body comes.
 * @param windowMs  of time; a body that ends within it may be of any size
 */
export function paceOf(body: IncomingMessage, windowMs: number): Pace {
  const { promise, reject } = withReject();
  let before = body.socket.bytesRead;
  const timer = setInterval(() => {
    const read = body.socket.bytesRead;
    const late = read - before < leastBytes && !body.complete && body.readableLength === 0; // else the disk is
    before = read;
    if (!late) return;
    clearInterval(timer);
    const seconds = windowMs / 1000;
    reject(
      new ApiError(408, `body: expected at least ${leastBytes} bytes in ${seconds} s, got fewer`, {
        param: "body",
        code: "request_timeout",
      }),
    );
  }, windowMs);
  return { tooSlow: promise, stop: () => clearInterval(timer) };
}

function withReject(): { readonly promise: Promise<never>; readonly reject: (error: Error) => void } {
  let reject!: (error: Error) => void;
  const promise = new Promise<never>((_, refuse) => (reject = refuse));
  promise.catch(() => undefined);
  return { promise, reject };
}
