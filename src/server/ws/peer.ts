import type { WebSocket } from "ws";
import type { Engine } from "../engine/engine.js";
import type { Admission } from "../http/admission.js";
import type { Metrics } from "../http/metrics.js";
import type { Spool } from "../http/spool.js";
import type { ServerSettings } from "../settings.js";

/** What WebSocket sessions share. */
export interface SessionParts {
  readonly engine: Engine;
  readonly settings: ServerSettings;
  readonly admission: Admission;
  readonly spool: Spool;
  readonly metrics: Metrics;
}

/** Bytes of a message at most. */
export const MESSAGE_BYTES = 16 * 2 ** 20;
const mostUnsent = 4 * 2 ** 20; // bytes

/** One protocol on one connection. */
export interface Protocol {
  text(message: string): void;
  binary(bytes: Buffer): void;
  /** Finishes what was heard, then resolves. */
  finish(): Promise<void>;
  /** The connection is gone. */
  close(): void;
}

/** A client behind a WebSocket. */
export class Peer {
  /** Who does not want to hear more of the client. */
  readonly #holders = new Set<object>();

  constructor(private readonly socket: WebSocket) {}

  /** Sends an object as JSON. A client that does not read what it is sent is cut off. */
  send(message: object): void {
    if (this.socket.readyState !== this.socket.OPEN) return;
    if (readsTooLittle(this.socket)) this.socket.terminate();
    else this.socket.send(JSON.stringify(message));
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason);
  }

  /** The client's sending waits while somebody holds it. */
  hold(holder: object): void {
    this.#holders.add(holder);
    if (this.socket.readyState === this.socket.OPEN) this.socket.pause();
  }

  release(holder: object): void {
    if (!this.#holders.delete(holder) || this.#holders.size > 0) return;
    if (this.socket.readyState === this.socket.OPEN) this.socket.resume();
  }
}

/** Whether a client leaves more unread than it may. */
export function readsTooLittle({ bufferedAmount }: WebSocket): boolean {
  return bufferedAmount > mostUnsent;
}
