import { type IncomingMessage, STATUS_CODES, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { show } from "../../json.js";
import { ApiError } from "./api-error.js";
import type { Metrics } from "./metrics.js";
import { isUpgrade } from "./security.js";

/** What is called when a connection ends, of each answer that is not yet sent. */
const unsent = new WeakMap<Socket, Set<() => void>>();

/**
 * Calls back once an answer was sent, or its connection has ended. An answer that waits behind
 * another one of its connection does not hear of that end.
 */
export function onceGone({ raw: { socket } }: FastifyRequest, reply: FastifyReply, call: () => void): void {
  const calls = unsent.get(socket) ?? new Set();
  if (!unsent.has(socket)) {
    unsent.set(socket, calls);
    socket.once("close", () => {
      for (const each of calls) each();
    });
  }
  const gone = (): void => {
    if (calls.delete(gone)) call();
  };
  calls.add(gone);
  reply.raw.once("close", gone);
}

/** Faults of HTTP itself, by the codes of Node's parser. */
const faults: Readonly<Record<string, readonly [status: number, message: string, code: string]>> = {
  HPE_HEADER_OVERFLOW: [431, "headers: expected at most 16384 bytes, got more", "headers_too_large"],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, "body: expected short chunk extensions, got longer", "invalid_body"],
  HPE_INVALID_METHOD: [400, "request line: expected a method of HTTP, got another word", "invalid_request"],
  HPE_INVALID_EOF_STATE: [400, "body: expected all of it, got its begin", "invalid_body"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "request: expected all of it in time, got a part", "request_timeout"],
};

/** An answer to a connection that has no request, or none that can be read; the connection ends. */
function refuse(socket: Duplex, error: ApiError, metrics: Metrics): void {
  metrics.failed(error.code ?? error.type);
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(error.body);
  const head = `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\ncontent-type: application/json; charset=utf-8\r\n`;
  socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
  socket.once("finish", () => socket.destroy());
}

/** The answer to what is no HTTP. */
export function clientError(error: NodeJS.ErrnoException, socket: Duplex, metrics: Metrics): void {
  if (error.code === "ECONNRESET" || socket.destroyed) return;
  const { reason = error.message } = error as { reason?: string };
  const [status, message, code] = faults[error.code ?? ""] ?? [
    400,
    `request: expected HTTP/1.1, got a damaged one: ${reason}`,
    "invalid_request",
  ];
  refuse(socket, new ApiError(status, message, { code }), metrics);
}

/**
 * Cuts off clients that read nothing of their answer for `stallMs`, and those that go on to send a
 * body so long after its answer. A connection whose request the engine works on may be silent.
 * Answers in the API's form what Node answers by itself.
 */
export function guardConnections(app: FastifyInstance, stallMs: number, metrics: Metrics): void {
  const { server } = app as { readonly server: Server };
  app.addHook("onRequest", (request, reply, done) => {
    onceGone(request, reply, () => undefined);
    done();
  });
  app.addHook("onResponse", ({ raw }, _, done) => {
    if (!raw.complete) setTimeout(() => raw.complete || raw.destroy(), stallMs).unref();
    done();
  });
  server.setTimeout(stallMs, (socket: Socket) => {
    if (socket.writableLength > 0 || !unsent.get(socket)?.size) socket.destroy();
  });
  server.on("checkExpectation", ({ headers: { expect } }: IncomingMessage, response: ServerResponse) => {
    const message = `expect: expected 100-continue, got ${show(expect)}`;
    const { body } = new ApiError(417, message, { param: "expect", code: "invalid_request" });
    metrics.failed("invalid_request");
    const text = JSON.stringify(body);
    const type = {
      "content-type": "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(text),
    };
    response.writeHead(417, { ...type, connection: "close" }).end(text);
  });
  server.on("connect", (_: IncomingMessage, socket: Duplex) =>
    refuse(socket, new ApiError(405, "this is no proxy", { code: "method_not_allowed" }), metrics),
  );
}

/**
 * Requests that ask for another protocol than WebSocket are answered as if they did not: clients
 * such as Java's offer HTTP/2 with their first request. Called once the WebSockets' listener is
 * there.
 * @source RFC 9110, 7.8: a server may ignore Upgrade
 */
export function ignoreOtherUpgrades(server: Server): void {
  type Listener = (request: IncomingMessage, socket: Socket, head: Buffer) => void;
  const listeners = server.listeners("upgrade") as Listener[];
  server.removeAllListeners("upgrade");
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (isUpgrade(request)) {
      for (const listener of listeners) listener.call(server, request, socket, head);
      return;
    }
    socket.unshift(Buffer.concat([Buffer.from(withoutUpgrade(request), "latin1"), head]));
    server.emit("connection", socket);
  });
}

/** The head of a request without the wish for another protocol. */
function withoutUpgrade({ method, url, httpVersion, headers, rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  if (/\bclose\b/i.test(headers.connection ?? "")) lines.push("connection: close");
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (!/^(upgrade|connection|http2-settings)$/i.test(rawHeaders[i]))
      lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}
