/** A static server for checks in a browser: counts requests, answers ranges, and breaks what it is asked to. */
import { createReadStream, statSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { listModel } from "../list-model.js";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".css": "text/css",
};

/** One request. */
export interface Asked {
  readonly path: string;
  readonly range: string | undefined;
}

/** Folders by the first part of their path. */
export class StaticServer {
  readonly asked: Asked[] = [];
  /** Bytes after which an answer to this path breaks off, once. */
  readonly cuts = new Map<string, number>();
  /** Whether only `page` is served. */
  offline = false;
  readonly #server: Server;

  /**
   * @param folders  by name; a folder of a model has its listing at NAME/files.json
   * @param pages    texts by path, such as "/index.html"
   */
  constructor(
    private readonly folders: Readonly<Record<string, string>>,
    private readonly pages: Readonly<Record<string, string>> = {},
  ) {
    this.#server = createServer((request, response) => {
      const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
      const { range } = request.headers;
      this.asked.push({ path, range });
      const [, folder, ...rest] = path.split("/");
      const file = normalize(rest.join("/"));
      const directory = this.folders[folder];
      const page = this.pages[path];
      if (page !== undefined) {
        response
          .writeHead(200, { "content-type": types[extname(path)] ?? "text/html; charset=utf-8" })
          .end(page);
        return;
      }
      if (this.offline && folder !== "page") return void request.socket.destroy();
      if (directory === undefined || file.startsWith("..")) return void response.writeHead(404).end();
      if (file === "files.json" && !statSync(join(directory, file), { throwIfNoEntry: false })) {
        response
          .writeHead(200, { "content-type": "application/json" })
          .end(JSON.stringify(listModel(directory, folder)));
        return;
      }
      const at = join(directory, file);
      const stat = statSync(at, { throwIfNoEntry: false });
      if (!stat?.isFile()) return void response.writeHead(404).end();
      const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
      const start = Number(from ?? 0);
      const end = Math.min(to ? Number(to) : Infinity, stat.size - 1);
      const headers = {
        "content-type": types[extname(at)] ?? "application/octet-stream",
        "content-length": end - start + 1,
        "accept-ranges": "bytes",
        "cache-control": "no-store",
        "access-control-allow-origin": "*",
        ...(from !== undefined && { "content-range": `bytes ${start}-${end}/${stat.size}` }),
      };
      response.writeHead(from === undefined ? 200 : 206, headers);
      const cut = from === undefined || to === "" ? this.cuts.get(path) : undefined;
      if (cut === undefined) return void createReadStream(at, { start, end }).pipe(response);
      this.cuts.delete(path);
      const part = createReadStream(at, { start, end: start + cut - 1 });
      part.on("data", (bytes) => response.write(bytes));
      part.on("end", () => setTimeout(() => request.socket.destroy(), 200));
    });
  }

  /** @returns the server's port */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Requests for files of weights, without those for a few bytes of their headers. */
  weights(): Asked[] {
    return this.asked.filter(
      ({ path, range }) => path.endsWith(".safetensors") && !/^bytes=\d+-\d+$/.test(range ?? ""),
    );
  }
}
