/** How the server answers and what it refuses. */
export interface ServerSettings {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Name of the model in requests and answers. */
  readonly model: string;
  /** Keys of which a request needs one; none: no request needs a key. */
  readonly apiKeys: readonly string[];
  /** Origins whose pages may read answers; `*`: all. */
  readonly origins: readonly string[];
  /** Bytes of an upload at most. */
  readonly maxUploadBytes: number;
  /** Seconds of a recording at most. */
  readonly maxSeconds: number;
  /** Recordings whose files are read at once, and that are let in beside them. */
  readonly jobs: number;
  readonly waiting: number;
  /** A request without a result after so many milliseconds fails. */
  readonly timeoutMs: number;
  /** Requests a minute of one key, or address without keys; 0: any number. */
  readonly rateLimit: number;
  /** WebSocket sessions at once. */
  readonly sessions: number;
  /** A client that sends 4 kB of a body in no such time, or reads nothing of an answer, is cut off, ms. */
  readonly stallMs: number;
  /** How long a stop waits for requests that run, ms. */
  readonly drainMs: number;
  /** The package whose page, models and golden bundles are served; default: this one. */
  readonly root?: string;
}

/** What is taken where nothing else is asked for. */
export const SERVER_DEFAULTS = {
  host: "127.0.0.1",
  port: 8000,
  apiKeys: [],
  origins: [],
  maxUploadBytes: 512 * 2 ** 20,
  maxSeconds: 4 * 3600,
  jobs: 32,
  waiting: 64,
  timeoutMs: 3_600_000,
  rateLimit: 0,
  sessions: 32,
  stallMs: 60_000,
  drainMs: 30_000,
} as const satisfies Omit<ServerSettings, "model">;

/** Whether a host is this machine alone. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}
