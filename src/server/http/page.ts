import { readdirSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { pagePolicy } from "./page-policy.js";

/** This package: it has the built page, the models and the golden bundles. */
export const packageRoot = fileURLToPath(new URL("../../..", import.meta.url));

const built = "dist-web";

/** What the page reads beside its own files: in a static build copies of these stand below it. */
const shared = ["models/demo", "models/vad", "golden"] as const;

/** A file that the server answers with: its address, and its name below the package. */
interface PageFile {
  readonly url: string;
  readonly name: string;
  /** Whether its name changes with its content. */
  readonly immutable: boolean;
}

/** Names of the files in a directory and below it; empty where there is none. */
function filesIn(root: string, directory: string): string[] {
  if (!statSync(join(root, directory), { throwIfNoEntry: false })?.isDirectory()) return [];
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"));
}

const served = /\.(html|js|css|svg|wasm|json|jsonl|jinja|tiktoken|safetensors|wav|flac|ogg|mp3|m4a)$/;

/** All files of the page, found once; empty where it is not built. */
function pageFiles(root: string): PageFile[] {
  const own = filesIn(root, built);
  if (!own.includes(`${built}/index.html`)) return [];
  const names = new Map(own.map((name) => [name.slice(built.length), name]));
  for (const name of shared.flatMap((directory) => filesIn(root, directory)))
    if (!names.has(`/${name}`)) names.set(`/${name}`, name);
  return [...names]
    .filter(([url]) => served.test(url))
    .map(([url, name]) => ({ url: encodeURI(url), name, immutable: url.startsWith("/assets/") }));
}

/** What a browser shows where the page is not built. */
const placeholder = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>funasr-webgpu</title>
<h1>funasr-webgpu</h1>
<p>Send audio to <code>POST /v1/audio/transcriptions</code>. <a href="/health">Health</a>, <a href="/metrics">metrics</a>.</p>
<p>The page that transcribes in the browser is not built here: run <code>npm run web:build</code> and start the server again.</p>
</html>
`;

/** Whether a route belongs to the page: such a route needs no key and counts for no limit of requests. */
export function isPageRoute({ routeOptions }: Pick<FastifyRequest, "routeOptions">): boolean {
  return "page" in routeOptions.config;
}

/** The answer to `GET /`. */
export type PageHandler = (request: FastifyRequest, reply: FastifyReply) => FastifyReply;

/**
 * Routes of the page's files. The list is made once: no path of a request reaches the file system.
 * @param root  the package
 */
export async function pageRoutes(app: FastifyInstance, root: string): Promise<PageHandler> {
  await app.register(fastifyStatic, { root, serve: false });
  const files = pageFiles(root);
  for (const { url, name, immutable } of files)
    app.get(url, { config: { page: true, rateLimit: false } }, (_, reply) =>
      secured(reply).sendFile(name, root, { immutable, maxAge: immutable ? 31_536_000_000 : 0 }),
    );
  if (files.length > 0) return (_, reply) => secured(reply).sendFile(`${built}/index.html`, root);
  return (_, reply) => reply.type("text/html; charset=utf-8").send(placeholder);
}

function secured(reply: FastifyReply): FastifyReply {
  return reply.headers({
    "content-security-policy": `${pagePolicy}; frame-ancestors 'none'`,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
  });
}
