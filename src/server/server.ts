import { once } from "node:events";
import { type AddressInfo, type Server as NetServer, createServer } from "node:net";
import cors from "@fastify/cors";
import multipart from "@fastify/multipart";
import rateLimit from "@fastify/rate-limit";
import { type FastifyInstance, type FastifyRequest, fastify } from "fastify";
import type { Engine } from "./engine/engine.js";
import { Admission } from "./http/admission.js";
import { ApiError, apiError } from "./http/api-error.js";
import { clientError, guardConnections, ignoreOtherUpgrades } from "./http/connections.js";
import { wrongType } from "./http/form.js";
import { Metrics } from "./http/metrics.js";
import { isPageRoute, packageRoot, pageRoutes } from "./http/page.js";
import { errorRoutes, fail, plainRoutes } from "./http/routes.js";
import { Keys, checkHost, checkKey, checkOrigin, isUpgrade, keyOf } from "./http/security.js";
import { speechRoutes } from "./http/speech.js";
import { Spool } from "./http/spool.js";
import type { ServerSettings } from "./settings.js";
import { Sessions, socketPaths, socketRoutes } from "./ws/routes.js";

/** A server that listens. */
export interface Server {
  /** Where it listens: `http://127.0.0.1:8000`. */
  readonly address: string;
  /**
   * Refuses new requests with 503, waits for those that run, at most `drainMs`, and closes.
   * @returns whether all of them ended in time
   */
  readonly stop: () => Promise<boolean>;
}

const headersMs = 10_000;
const keepAliveMs = 72_000;
const bodyMs = 3_600_000;
const checksMs = 5000; // between looks at the times of headers and bodies
const smallBody = 65_536; // bytes

/**
 * Starts the HTTP and WebSocket server over an engine.
 * @throws  the system's error where it cannot listen
 */
export async function startServer(engine: Engine, settings: ServerSettings): Promise<Server> {
  const spool = await Spool.open();
  const admission = new Admission(settings.jobs, settings.waiting);
  let stopping = false;
  const sessions = new Sessions();
  const metrics = new Metrics({ engine, admission, spool, sessions: () => sessions.count });
  const app = newApp(metrics);
  guardConnections(app, settings.stallMs, metrics);
  await guard(app, settings, () => stopping);
  app.addHook("onResponse", (request, reply, done) => {
    const route = isPageRoute(request) ? "page" : (request.routeOptions.url ?? "unknown");
    metrics.answered(route, reply.statusCode, reply.elapsedTime / 1000);
    // Node reads the connection of an upgrade no further: a refused one would stay open.
    if (request.headers.upgrade !== undefined && reply.statusCode >= 400) request.raw.socket.destroySoon();
    done();
  });
  await app.register(multipart, { throwFileSizeLimit: false });
  const parts = { engine, settings, admission, spool, metrics };
  await socketRoutes(app, parts, sessions, await pageRoutes(app, settings.root ?? packageRoot));
  ignoreOtherUpgrades(app.server);
  errorRoutes(app, metrics);
  plainRoutes(app, engine, settings, metrics, () => stopping);
  speechRoutes(app, parts);
  let other: NetServer | undefined;
  try {
    other = await listen(app, settings);
  } catch (error) {
    await spool.close();
    throw error;
  }
  const close = async (): Promise<boolean> => {
    stopping = true;
    const late = new Promise<boolean>((resolve) =>
      setTimeout(() => resolve(false), settings.drainMs).unref(),
    );
    const all = Promise.all([admission.emptied(), sessions.finish()]).then(() => true);
    const ended = await Promise.race([all, late]);
    other?.close();
    await app.close();
    await spool.close();
    return ended;
  };
  let closed: Promise<boolean> | undefined;
  return { address: addressOf(app), stop: () => (closed ??= close()) };
}

/** The HTTP server without routes. */
function newApp(metrics: Metrics): FastifyInstance {
  const app = fastify({
    bodyLimit: smallBody,
    requestTimeout: bodyMs,
    keepAliveTimeout: keepAliveMs,
    forceCloseConnections: true,
    return503OnClosing: false,
    http: {
      headersTimeout: headersMs,
      connectionsCheckingInterval: checksMs,
      maxHeaderSize: 16_384,
      requireHostHeader: false,
    },
    routerOptions: { maxParamLength: 300 },
    frameworkErrors: (error, _, reply) => fail(reply, apiError(error), metrics),
    clientErrorHandler: (error, socket) => clientError(error, socket, metrics),
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", ({ headers, is404 }, _, done) =>
    done(is404 ? null : wrongType(headers["content-type"])),
  );
  return app;
}

/** @returns a second listener, which takes the connections of IPv6 where the host is "localhost" */
async function listen(app: FastifyInstance, { host, port }: ServerSettings): Promise<NetServer | undefined> {
  if (host !== "localhost") {
    await app.listen({ host, port });
    return undefined;
  }
  await app.listen({ host: "127.0.0.1", port });
  const other = createServer((socket) => app.server.emit("connection", socket));
  other.on("error", () => undefined); // there is no IPv6 here
  other.listen((app.server.address() as AddressInfo).port, "::1");
  await once(other, "listening").catch(() => undefined);
  return other;
}

/** What stands before every route. */
async function guard(app: FastifyInstance, settings: ServerSettings, stopping: () => boolean): Promise<void> {
  const keys = new Keys(settings.apiKeys);
  const before = (check: (request: FastifyRequest) => void): void => {
    app.addHook("onRequest", (request, _, done) => {
      try {
        check(request);
        done();
      } catch (error) {
        done(error as Error);
      }
    });
  };
  before((request) => {
    if (stopping() && request.routeOptions.url !== "/health")
      throw new ApiError(503, "the server stops", { code: "stopping", retryAfterSeconds: 10 });
    checkHost(request.raw);
    checkOrigin(request, settings);
  });
  if (settings.origins.length > 0)
    await app.register(cors, { origin: settings.origins.includes("*") ? "*" : [...settings.origins] });
  if (settings.rateLimit > 0)
    await app.register(rateLimit, {
      max: settings.rateLimit,
      timeWindow: 60_000,
      keyGenerator: (request) => {
        const key = keyOf(request);
        return key !== undefined && keys.has(key) ? `key ${key}` : request.ip;
      },
      errorResponseBuilder: (_, { ttl }) =>
        new ApiError(429, `more than ${settings.rateLimit} requests a minute`, {
          code: "rate_limit_exceeded",
          retryAfterSeconds: Math.ceil(ttl / 1000),
        }),
    });
  before((request) => {
    checkKey(request, keys);
    if (isUpgrade(request) && !socketPaths.has(request.routeOptions.url))
      throw new ApiError(404, "there is no WebSocket on this route", { code: "not_found" });
  });
}

function addressOf(app: FastifyInstance): string {
  const { address, family, port } = app.server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
