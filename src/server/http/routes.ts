import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { errorCode } from "../../errors.js";
import type { Engine } from "../engine/engine.js";
import type { ServerSettings } from "../settings.js";
import { ApiError, apiError, sendError } from "./api-error.js";
import { wrongType } from "./form.js";
import type { Metrics } from "./metrics.js";

/** `/health`, `/metrics` and `/v1/models`. */
export function plainRoutes(
  app: FastifyInstance,
  engine: Engine,
  { model }: ServerSettings,
  metrics: Metrics,
  stopping: () => boolean,
): void {
  const created = Math.floor(Date.now() / 1000);
  const entry = { id: model, object: "model", created, owned_by: "funasr-webgpu" };
  app.get("/v1/models", () => ({ object: "list", data: [entry] }));
  app.get<{ Params: { "*": string } }>("/v1/models/*", ({ params }) => {
    if (params["*"] === model) return entry;
    throw new ApiError(404, `the model is not served; GET /v1/models lists what is`, {
      param: "model",
      code: "model_not_found",
    });
  });
  app.get("/health", (_, reply) => {
    const status = stopping() ? "stopping" : engine.state;
    const { device, languages, words } = engine.about ?? {};
    const known = { device, languages, word_times: words };
    return reply.status(status === "ready" ? 200 : 503).send({ status, model, ...known });
  });
  app.get("/metrics", async (_, reply) => reply.type(metrics.type).send(await metrics.text()));
}

const methods = ["GET", "POST"] as const;

/** Answers to unknown routes, and to errors. */
export function errorRoutes(app: FastifyInstance, metrics: Metrics): void {
  const notFound = (request: FastifyRequest, reply: FastifyReply): void => {
    const path = request.url.split("?")[0];
    const allowed = methods.filter((method) => app.findRoute({ method, url: path }) !== null);
    if (allowed.length > 0) reply.header("allow", allowed.join(", "));
    const error =
      allowed.length > 0
        ? new ApiError(405, `${request.method} is not allowed here; ${allowed.join(" or ")} is`, {
            code: "method_not_allowed",
          })
        : new ApiError(404, "there is no such route", { code: "not_found" });
    fail(reply, error, metrics);
  };
  app.setNotFoundHandler(notFound);
  app.setErrorHandler((error, request, reply) => {
    if (request.is404 && isMediaType(error)) {
      notFound(request, reply);
      return;
    }
    const answer = isMediaType(error) ? wrongType(request.headers["content-type"]) : apiError(error);
    if (answer.status >= 500 && answer.code === "internal_error")
      process.stderr.write(
        `server: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
    fail(reply, answer, metrics);
  });
}

/** Whether Fastify could not read the type of a body. */
function isMediaType(error: unknown): boolean {
  return errorCode(error) === "FST_ERR_CTP_INVALID_MEDIA_TYPE";
}

/** Counts an error and answers with it. */
export function fail(reply: FastifyReply, error: ApiError, metrics: Metrics): void {
  metrics.failed(error.code ?? error.type);
  sendError(reply, error);
}
