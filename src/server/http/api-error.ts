import type { FastifyReply } from "fastify";
import { FunasrError, oneLine } from "../../errors.js";
import { EngineError, type FailureKind } from "../engine/errors.js";

/** Details of an answer that is an error. */
interface ErrorDetails {
  /** The field that is wrong. */
  readonly param?: string | undefined;
  readonly code?: string | undefined;
  readonly retryAfterSeconds?: number | undefined;
}

/** An error as OpenAI's API answers it. */
export class ApiError extends FunasrError {
  readonly param: string | undefined;
  readonly code: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly status: number,
    message: string,
    { param, code, retryAfterSeconds }: ErrorDetails = {},
  ) {
    super(oneLine(message));
    this.param = param;
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  get type(): string {
    return types[this.status] ?? (this.status >= 500 ? "server_error" : "invalid_request_error");
  }

  /** The body of the answer. */
  get body(): { readonly error: object } {
    const { message, type, param = null, code = null } = this;
    return { error: { message, type, param, code } };
  }
}

const types: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  429: "rate_limit_error",
};

/** A field of a request is wrong. */
export function wrongField(param: string, expected: string, got: string): ApiError {
  return new ApiError(400, `${param}: expected ${expected}, got ${got}`, { param, code: "invalid_value" });
}

const kinds: Readonly<
  Record<FailureKind, { readonly status: number; readonly code: string; readonly param?: string }>
> = {
  unsupported: { status: 415, code: "unsupported_audio", param: "file" },
  damaged: { status: 422, code: "invalid_audio", param: "file" },
  long: { status: 413, code: "audio_too_long", param: "file" },
  option: { status: 400, code: "invalid_value" },
  busy: { status: 429, code: "server_busy" },
  unavailable: { status: 503, code: "engine_unavailable" },
  deadline: { status: 503, code: "deadline_exceeded" },
  cancelled: { status: 499, code: "cancelled" },
  internal: { status: 500, code: "internal_error" },
};

/** Errors of Fastify and its plugins by their codes. */
const frameworkCodes: Readonly<Record<string, { readonly status: number; readonly code: string }>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { status: 413, code: "request_too_large" },
  FST_REQ_FILE_TOO_LARGE: { status: 413, code: "request_too_large" },
};

/** Any error as the answer to a request; what is no fault of the request keeps its words to itself. */
export function apiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof EngineError) {
    const { status, code, param } = kinds[error.kind];
    const message = error.kind === "internal" ? "the server failed on this request" : error.message;
    const { retryAfterSeconds = status === 503 ? 5 : undefined } = error;
    return new ApiError(status, message, { code, param: error.param ?? param, retryAfterSeconds });
  }
  const {
    code = "",
    statusCode = 500,
    message = "",
  } = error as {
    readonly code?: string;
    readonly statusCode?: number;
    readonly message?: string;
  };
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG")
    return new ApiError(503, "the server has no room for the upload", {
      code: "storage_full",
      retryAfterSeconds: 30,
    });
  if (code === "EMFILE" || code === "ENFILE")
    return new ApiError(503, "the server has no room for another file", {
      code: "server_busy",
      retryAfterSeconds: 5,
    });
  const known = frameworkCodes[code];
  if (known) return new ApiError(known.status, message, { code: known.code });
  if (statusCode >= 400 && statusCode < 500) {
    const status = statusCode === 406 ? 400 : statusCode;
    return new ApiError(status, message, { code: "invalid_request" });
  }
  return new ApiError(500, "the server failed on this request", { code: "internal_error" });
}

/** Answers a request with an error. */
export function sendError(reply: FastifyReply, error: ApiError): void {
  if (error.retryAfterSeconds !== undefined) reply.header("retry-after", String(error.retryAfterSeconds));
  if (error.status === 408) reply.header("connection", "close");
  if (error.status === 401) reply.header("www-authenticate", 'Bearer realm="funasr-webgpu"');
  void reply.status(error.status).type("application/json; charset=utf-8").send(error.body);
}
