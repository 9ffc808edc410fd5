import websocket from "@fastify/websocket";
import type { FastifyInstance, FastifyRequest, preValidationHookHandler } from "fastify";
import type { RawData, WebSocket } from "ws";
import { show } from "../../json.js";
import { ApiError, wrongField } from "../http/api-error.js";
import { checkModel } from "../http/fields.js";
import type { PageHandler } from "../http/page.js";
import { isUpgrade, keyProtocol } from "../http/security.js";
import { NanoProtocol } from "./nano.js";
import { MESSAGE_BYTES, Peer, type Protocol, type SessionParts, readsTooLittle } from "./peer.js";
import { RealtimeProtocol } from "./realtime.js";
import { TwoPassProtocol } from "./two-pass.js";

/** The routes of WebSockets. */
export const socketPaths: ReadonlySet<string | undefined> = new Set(["/", "/v1/realtime"]);
const idleMs = 60_000; // between pings that are not answered

/** The sessions that are open. */
export class Sessions {
  readonly #open = new Map<WebSocket, Protocol | undefined>();

  get count(): number {
    return this.#open.size;
  }

  add(socket: WebSocket): void {
    this.#open.set(socket, undefined);
    socket.once("close", () => this.#open.delete(socket));
  }

  speaks(socket: WebSocket, protocol: Protocol): void {
    this.#open.set(socket, protocol);
  }

  /** Finishes what was heard, and closes. */
  async finish(): Promise<void> {
    await Promise.all(
      Array.from(this.#open, async ([socket, protocol]) => {
        await protocol?.finish();
        socket.close(1001, "the server stops");
      }),
    );
  }

  terminate(): void {
    for (const socket of this.#open.keys()) socket.terminate();
  }
}

/**
 * OpenAI's realtime transcription on `/v1/realtime`; FunASR's protocols on every other WebSocket: the
 * 2pass protocol where the first message is JSON, else Nano's.
 */
export async function socketRoutes(
  app: FastifyInstance,
  parts: SessionParts,
  sessions: Sessions,
  page: PageHandler,
): Promise<void> {
  await app.register(websocket, {
    options: { maxPayload: MESSAGE_BYTES, perMessageDeflate: false, handleProtocols: chosenProtocol },
    errorHandler: (_, socket) => socket.terminate(),
    preClose: (done) => {
      sessions.terminate();
      done();
    },
  });
  app.route({
    method: "GET",
    url: "/",
    preValidation: checked((request) => admit(request, parts, sessions)),
    handler: page,
    wsHandler: (socket: WebSocket) => {
      const peer = new Peer(socket);
      listen(socket, sessions, (first) => {
        if (typeof first === "string")
          return first.trimStart().startsWith("{")
            ? new TwoPassProtocol(parts, peer)
            : new NanoProtocol(parts, peer);
        const error = "audio: expected START, or settings in JSON, before it, got audio alone";
        peer.send({ event: "error", error });
        return undefined;
      });
    },
  });
  app.route({
    method: "GET",
    url: "/v1/realtime",
    preValidation: checked((request) => {
      admit(request, parts, sessions);
      checkRealtime(request, parts.settings.model);
    }),
    handler: () => {
      throw new ApiError(426, "this route is a WebSocket", { code: "upgrade_required" });
    },
    wsHandler: (socket: WebSocket, request) => {
      const protocol = new RealtimeProtocol(parts, new Peer(socket), wantsBeta(request));
      listen(socket, sessions, () => protocol, protocol);
    },
  });
}

/** A check before the handler, or before the connection becomes a WebSocket. */
function checked(check: (request: FastifyRequest) => void): preValidationHookHandler {
  return (request, _, done) => {
    try {
      check(request);
      done();
    } catch (error) {
      done(error as Error);
    }
  };
}

/** @throws ApiError  the engine is not ready, too many sessions are open */
function admit(request: FastifyRequest, { engine, settings }: SessionParts, sessions: Sessions): void {
  if (!isUpgrade(request)) return;
  checkHandshake(request);
  if (engine.state !== "ready")
    throw new ApiError(503, "the model is not ready", { code: "engine_unavailable", retryAfterSeconds: 2 });
  if (sessions.count >= settings.sessions)
    throw new ApiError(429, `${sessions.count} sessions are open; try again later`, {
      code: "server_busy",
      retryAfterSeconds: 5,
    });
}

/** @throws ApiError  what the WebSocket library would refuse without a word of the API */
function checkHandshake({ headers }: FastifyRequest): void {
  const { "sec-websocket-key": key, "sec-websocket-version": version } = headers;
  if (!/^[+/0-9A-Za-z]{22}==$/.test(key ?? ""))
    throw wrongField("sec-websocket-key", "16 bytes in base64", show(key));
  if (version !== "13" && version !== "8") throw wrongField("sec-websocket-version", "13", show(version));
}

/** @throws ApiError  the query is wrong */
function checkRealtime({ query }: FastifyRequest, served: string): void {
  const { intent = "transcription", model } = query as Readonly<Record<string, string | string[]>>;
  if (intent !== "transcription") throw wrongField("intent", "transcription", show(intent));
  if (Array.isArray(model)) throw wrongField("model", "one value", `${model.length}`);
  if (model !== undefined) checkModel(model, served);
}

function wantsBeta({ headers }: FastifyRequest): boolean {
  const protocols = headers["sec-websocket-protocol"] ?? "";
  return headers["openai-beta"] === "realtime=v1" || protocols.includes("openai-beta.realtime-v1");
}

/** The protocol that is answered: never the one that holds a key. */
function chosenProtocol(offered: Set<string>): string | false {
  for (const name of offered) if (!name.startsWith(keyProtocol)) return name;
  return false;
}

/** Passes a socket's messages to its protocol, which the first one may choose. */
function listen(
  socket: WebSocket,
  sessions: Sessions,
  choose: (first: string | Buffer) => Protocol | undefined,
  known?: Protocol,
): void {
  let protocol = known;
  let alive = true;
  sessions.add(socket);
  if (known) sessions.speaks(socket, known);
  const pings = setInterval(() => {
    if (!alive && !socket.isPaused) socket.terminate();
    alive = false;
    socket.ping();
  }, idleMs);
  socket.on("pong", () => (alive = true));
  socket.on("ping", () => readsTooLittle(socket) && socket.terminate()); // each has an answer
  socket.on("error", () => undefined); // "close" follows
  socket.on("close", () => {
    clearInterval(pings);
    protocol?.close();
  });
  socket.on("message", (data: RawData, binary: boolean) => {
    alive = true;
    const bytes = Array.isArray(data)
      ? Buffer.concat(data)
      : data instanceof ArrayBuffer
        ? Buffer.from(data)
        : data;
    const message = binary ? bytes : bytes.toString("utf8");
    if (!protocol) {
      protocol = choose(message);
      if (!protocol) return;
      sessions.speaks(socket, protocol);
    }
    if (typeof message === "string") protocol.text(message);
    else protocol.binary(message);
  });
}
