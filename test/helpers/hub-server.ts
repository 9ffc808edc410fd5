import { createHash } from "node:crypto";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface HubRepo {
  /** Content by path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Branches and tags. */
  readonly refs: Readonly<Record<string, string>>;
  /** Wanted to see it. */
  readonly token?: string;
  readonly gated?: boolean;
}

/** What goes wrong with the content of one path. */
export interface Fault {
  /** The connection breaks after so many bytes of the answer, so many times. */
  cutAfter?: number;
  times?: number;
  /** Sent in place of the file. */
  content?: Uint8Array;
  /** Ranges are not known. */
  noRanges?: boolean;
  /** Sent in pieces of so many bytes with so many milliseconds between. */
  pace?: { readonly bytes: number; readonly ms: number };
  /** After the first 64 kB nothing comes until this is settled. */
  gate?: Promise<void>;
  /** Answered so many times (`times`, default always) instead of the content. */
  status?: number;
  headers?: Record<string, string>;
  /** No byte comes after the headers. */
  hangs?: boolean;
}

export interface Asked {
  readonly from: "hub" | "storage";
  readonly url: string;
  readonly range?: string;
  readonly authorization?: string;
}

/** Files above this are in large-file storage. */
const LFS_FROM = 1000;

const hashes = new WeakMap<Uint8Array, string>(); // a file of gigabytes is asked for several times

export function sha256(bytes: Uint8Array): string {
  const hash = hashes.get(bytes) ?? createHash("sha256").update(bytes).digest("hex");
  hashes.set(bytes, hash);
  return hash;
}

export const gitSha1 = (bytes: Uint8Array): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/**
 * A hub on loopback with what the client asks of it: model info, file listings in pages, files, and
 * a second origin that large files are redirected to.
 */
export class HubServer {
  readonly repos = new Map<string, HubRepo>();
  readonly faults = new Map<string, Fault>();
  readonly asked: Asked[] = [];
  pageSize = 1000;
  /** Links to further pages lead to the storage's origin. */
  strayPages = false;
  /** Status of every answer of the API, where set. */
  apiStatus?: number;
  /** Body of every answer of the API, where set. */
  apiBody?: string;
  #hub: Server;
  #storage: Server;

  constructor() {
    this.#hub = createServer((request, response) => {
      this.#log("hub", request);
      this.#answer(request, response).catch(() => response.destroy());
    });
    this.#storage = createServer((request, response) => {
      this.#log("storage", request);
      const [, , owner, name, ...path] = decodeURIComponent(
        new URL(request.url!, this.endpoint).pathname,
      ).split("/");
      this.#content(request, response, this.repos.get(`${owner}/${name}`)!, path.join("/")).catch(() =>
        response.destroy(),
      );
    });
  }

  async start(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    }
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get #storageOrigin(): string {
    return `http://127.0.0.1:${(this.#storage.address() as AddressInfo).port}`;
  }

  /** Requests for the content of a path. */
  downloads(path: string): Asked[] {
    return this.asked.filter(
      ({ from, url }) => from === "storage" && decodeURIComponent(url).endsWith(`/${path}`),
    );
  }

  #log(from: Asked["from"], { url, headers }: IncomingMessage): void {
    this.asked.push({ from, url: url!, range: headers.range, authorization: headers.authorization });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const { pathname, searchParams } = new URL(request.url!, this.endpoint);
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(pathname);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
    const [, name, kind, revision] = api ?? [undefined, file?.[1], "resolve", file?.[2]];
    if (api && this.apiStatus) return end(response, this.apiStatus);
    if (api && this.apiBody !== undefined) return end(response, 200, this.apiBody);
    const repo = this.repos.get(name ?? "");
    const authorized = request.headers.authorization === `Bearer ${repo?.token}`;
    // as the hub: who may not know whether a repository is there gets 401 in either case
    if (!repo && !request.headers.authorization) return refuse(response, 401, "RepoNotFound");
    if (repo?.token && !authorized)
      return refuse(response, repo.gated ? 403 : 401, repo.gated ? "GatedRepo" : "RepoNotFound");
    if (!repo) return refuse(response, 404, "RepoNotFound");
    const wanted = decodeURIComponent(revision!);
    const commit = repo.refs[wanted] ?? Object.values(repo.refs).find((id) => id === wanted);
    if (!commit) return refuse(response, 404, "RevisionNotFound");
    if (kind === "revision") return end(response, 200, JSON.stringify({ _id: "1", id: name, sha: commit }));
    if (kind === "tree") return this.#tree(response, pathname, repo, Number(searchParams.get("cursor") ?? 0));
    return this.#file(request, response, repo, { name: name!, path: decodeURIComponent(file![3]), commit });
  }

  #tree(response: ServerResponse, pathname: string, repo: HubRepo, from: number): ServerResponse {
    const entries = [...repo.files].map(([path, bytes]) => {
      const size = bytes.length;
      const lfs = size >= LFS_FROM ? { oid: sha256(bytes), size, pointerSize: 130 } : undefined;
      return { type: "file", path, size, oid: gitSha1(bytes), ...(lfs && { lfs, xetHash: sha256(bytes) }) };
    });
    const page = entries.slice(from, from + this.pageSize);
    const next = from + this.pageSize;
    if (next < entries.length) {
      const origin = this.strayPages ? this.#storageOrigin : this.endpoint;
      response.setHeader("link", `<${origin}${pathname}?recursive=true&cursor=${next}>; rel="next"`);
    }
    return end(
      response,
      200,
      JSON.stringify([{ type: "directory", path: "example", size: 0, oid: "0".repeat(40) }, ...page]),
    );
  }

  async #file(
    request: IncomingMessage,
    response: ServerResponse,
    repo: HubRepo,
    { name, path, commit }: { name: string; path: string; commit: string },
  ): Promise<unknown> {
    const bytes = repo.files.get(path);
    if (!bytes) return refuse(response, 404, "EntryNotFound");
    response.setHeader("x-repo-commit", commit);
    if (bytes.length < LFS_FROM) {
      response.setHeader("etag", `"${gitSha1(bytes)}"`);
      return this.#content(request, response, repo, path);
    }
    response.setHeader("x-linked-etag", `"${sha256(bytes)}"`);
    response.setHeader("x-linked-size", bytes.length);
    response.setHeader("location", `${this.#storageOrigin}/lfs/${name}/${path}`);
    return end(response, 302);
  }

  async #content(
    request: IncomingMessage,
    response: ServerResponse,
    repo: HubRepo,
    path: string,
  ): Promise<unknown> {
    const fault = this.faults.get(path) ?? {};
    const strikes = fault.times === undefined || fault.times-- > 0;
    if (fault.status && strikes) {
      for (const [header, value] of Object.entries(fault.headers ?? {})) response.setHeader(header, value);
      return end(response, fault.status);
    }
    const all = fault.content ?? repo.files.get(path)!;
    const range = fault.noRanges ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const from = Number(range?.[1] ?? 0);
    const to = range?.[2] ? Number(range[2]) + 1 : all.length;
    if (range && from >= all.length) return end(response, 416);
    if (range) response.setHeader("content-range", `bytes ${from}-${to - 1}/${all.length}`);
    response.writeHead(range ? 206 : 200, { "content-length": to - from });
    response.flushHeaders();
    if (fault.hangs && strikes) return undefined;
    const stop = fault.cutAfter !== undefined && strikes ? Math.min(to, from + fault.cutAfter) : to;
    const { bytes: step, ms } = fault.pace ?? { bytes: 65_536, ms: 0 };
    for (let at = from; at < stop && !response.destroyed; at += step) {
      await new Promise((resolve) => response.write(all.subarray(at, Math.min(stop, at + step)), resolve));
      if (ms > 0) await sleep(ms);
      await fault.gate;
    }
    return stop < to ? response.destroy() : response.end();
  }
}

function end(response: ServerResponse, status: number, body = ""): ServerResponse {
  return response.writeHead(status, body ? { "content-type": "application/json" } : {}).end(body);
}

function refuse(response: ServerResponse, status: number, code: string): ServerResponse {
  response.setHeader("x-error-code", code);
  return end(response, status, JSON.stringify({ error: "a text\nof the hub's" }));
}
