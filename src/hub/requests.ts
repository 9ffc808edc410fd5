import { setTimeout as sleep } from "node:timers/promises";
import { errorCode } from "../errors.js";
import { HubError, HubUnreachableError } from "./errors.js";
import { type HubName, hubNameText } from "./name.js";
import type { HubSettings } from "./settings.js";

export interface Patience {
  /** A connection fails after this many milliseconds without a byte. */
  readonly stallMs: number;
  /** Most consecutive tries without progress. */
  readonly tries: number;
  /** Milliseconds before the second try, doubled for each later one. */
  readonly retryMs: number;
}

export const patience: Patience = { stallMs: 30_000, tries: 5, retryMs: 500 };

/** The purpose of a request, for errors. */
export interface Purpose {
  readonly settings: HubSettings;
  readonly name: HubName;
  /** File in the repository. */
  readonly path?: string;
}

const LONGEST_WAIT = 60_000;

/**
 * GET with the token, which only the endpoint's origin receives (fetch drops it at a redirect
 * elsewhere).
 * @throws HubUnreachableError  no connection, or 408, 425, 429, 5xx
 * @throws HubError  another status than 2xx or 416, explained by the hub's X-Error-Code
 */
export async function get(purpose: Purpose, url: string, init: RequestInit = {}): Promise<Response> {
  const { settings } = purpose;
  const headers = new Headers(init.headers);
  headers.delete("authorization");
  headers.set("accept-encoding", "identity"); // sizes and ranges are the file's
  if (settings.token && new URL(url).origin === new URL(settings.endpoint).origin) {
    headers.set("authorization", `Bearer ${settings.token.value}`);
  }
  let response: Response;
  try {
    response = await fetch(url, { ...init, headers });
  } catch (cause) {
    throw unreachable(purpose, describe(cause), { cause });
  }
  if (response.ok || response.status === 416) return response;
  await response.body?.cancel();
  if ([408, 425, 429].includes(response.status) || response.status >= 500) {
    throw unreachable(purpose, `status ${response.status}`, { cause: retryAfter(response) });
  }
  throw refusal(purpose, response.status, response.headers.get("x-error-code") ?? "");
}

/** The bytes of an answer. */
export function body(response: Response): AsyncIterable<Uint8Array> | readonly Uint8Array[] {
  return (response.body as AsyncIterable<Uint8Array> | null) ?? [];
}

/** Repeats `attempt` after temporary failures. Progress restarts the count of tries. */
export async function persist<T>(
  { tries, retryMs }: Patience,
  attempt: () => Promise<T>,
  hasProgress: () => boolean = () => false,
  signal?: AbortSignal,
): Promise<T> {
  for (let failed = 0; ;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof HubUnreachableError)) throw error;
      failed = hasProgress() ? 1 : failed + 1;
      if (failed >= tries) throw error;
      const requested = error.cause instanceof RetryAfter ? error.cause.ms : 0;
      const pause = Math.max(requested, Math.min(retryMs * 2 ** (failed - 1), LONGEST_WAIT));
      await sleep(pause, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  }
}

export function unreachable(
  { settings, name, path }: Purpose,
  why: string,
  options?: ErrorOptions,
): HubUnreachableError {
  const advice = path
    ? "run the command again: the download goes on where it stopped"
    : "check the network and HF_ENDPOINT, or give a model directory";
  return new HubUnreachableError(
    `${label(name, path)}: ${new URL(settings.endpoint).host} cannot be reached (${why}); ${advice}`,
    options,
  );
}

/** `OWNER/NAME@REVISION: FILE`, for errors. */
export function label(name: HubName, path?: string): string {
  return path === undefined ? hubNameText(name) : `${hubNameText(name)}: ${path}`;
}

class RetryAfter extends Error {
  constructor(readonly ms: number) {
    super("the hub asked to wait");
  }
}

function retryAfter(response: Response): RetryAfter | undefined {
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  return seconds > 0 ? new RetryAfter(Math.min(seconds * 1000, LONGEST_WAIT)) : undefined;
}

function describe(cause: unknown): string {
  if (cause instanceof DOMException) return "no answer in time";
  return errorCode(cause) ?? "the connection broke";
}

function refusal({ settings, name, path }: Purpose, status: number, code: string): HubError {
  const { token } = settings;
  const host = new URL(settings.endpoint).host;
  const account = token
    ? `with the account of the token in ${token.from}`
    : "then set HF_TOKEN to a token of that account";
  const denied = token
    ? `${host} refuses the token in ${token.from} (${status}); check that it is valid and may read this repository`
    : `${host} wants a token (${status}): no such repository, or a private one; check the name, or set HF_TOKEN`;
  const byCode = new Map([
    [
      "GatedRepo",
      `${host} gives it only to those who accepted its terms (${status}); accept them on the model's page ${account}`,
    ],
    ["EntryNotFound", `no such file in the repository (${status}); check the name and the revision`],
    [
      "RevisionNotFound",
      `no revision ${name.revision} in the repository (${status}); check the branch, tag or commit`,
    ],
  ]);
  const byStatus = new Map([
    [401, denied],
    [403, denied],
    [404, `no such repository or file on ${host} (404); check the spelling, or give a model directory`],
  ]);
  const unexplained = `${host} answers with status ${status}; check HF_ENDPOINT`;
  const text = byCode.get(code) ?? byStatus.get(status) ?? unexplained;
  return new HubError(`${label(name, path)}: ${text}`);
}
