import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { FastifyRequest } from "fastify";
import { type ServerSettings, isLoopback } from "../settings.js";
import { ApiError, wrongField } from "./api-error.js";
import { isPageRoute } from "./page.js";

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** Compares a key with all keys in a time that does not depend on them. */
export class Keys {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest);
  }

  get needed(): boolean {
    return this.#digests.length > 0;
  }

  has(key: string): boolean {
    const given = digest(key);
    let found = false;
    for (const known of this.#digests) found = timingSafeEqual(given, known) || found;
    return found;
  }
}

/** The begin of a WebSocket protocol that holds a key. */
export const keyProtocol = "openai-insecure-api-key.";

/**
 * The key of a request: `Authorization: Bearer KEY`, or among the WebSocket's protocols, as
 * OpenAI's clients in browsers send it.
 */
export function keyOf({ headers }: Pick<FastifyRequest, "headers">): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
  if (bearer !== undefined) return bearer;
  const protocols = (headers["sec-websocket-protocol"] ?? "").split(",").map((text) => text.trim());
  return protocols.find((text) => text.startsWith(keyProtocol))?.slice(keyProtocol.length);
}

/** Whether a request asks for a WebSocket. */
export function isUpgrade({ headers }: Pick<FastifyRequest, "headers">): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}

/** Without a key these can be read. */
const open: ReadonlySet<string> = new Set(["/", "/health"]);

function isOpen(request: FastifyRequest): boolean {
  return open.has(request.routeOptions.url ?? "") || isPageRoute(request);
}

/** @throws ApiError 401  the request needs a key and has none, or a wrong one */
export function checkKey(request: FastifyRequest, keys: Keys): void {
  if (!keys.needed || (!isUpgrade(request) && isOpen(request))) return;
  const key = keyOf(request);
  if (key !== undefined && keys.has(key)) return;
  const message =
    key === undefined
      ? "a key is needed: Authorization: Bearer KEY"
      : "the key is not among those of this server";
  throw new ApiError(401, message, { code: "invalid_api_key" });
}

/** @throws ApiError 400  not one name of the server; HTTP/1.0 needs none */
export function checkHost({ httpVersion, rawHeaders }: IncomingMessage): void {
  const names = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === "host");
  if (names.length > 1 || (names.length === 0 && httpVersion === "1.1"))
    throw wrongField("host", "the server's name, once", `${names.length}`);
}

/**
 * Refuses requests of web pages that the server was not told to serve: any page in the user's
 * browser can reach a server on loopback, and the key of a server that has none protects nothing.
 * @throws ApiError 403
 */
export function checkOrigin(request: FastifyRequest, { origins, apiKeys, host }: ServerSettings): void {
  const { origin, host: asked = "" } = request.headers;
  const name = asked.replace(/:\d+$/, "");
  if (apiKeys.length === 0 && isLoopback(host) && asked !== "" && !isLoopback(name))
    throw new ApiError(403, `host: expected localhost, got ${JSON.stringify(name.slice(0, 80))}`, {
      code: "wrong_host",
    });
  if (origin === undefined || origins.includes("*") || origins.includes(origin)) return;
  if (URL.canParse(origin) && new URL(origin).host === asked) return;
  throw new ApiError(
    403,
    "origin: pages of this origin may not use the server; --cors names those that may",
    {
      code: "wrong_origin",
    },
  );
}
