import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { fakeServer } from "../../../test/helpers/fake-engine.js";
import { metric } from "../../../test/helpers/uploads.js";
import { packageRoot } from "./page.js";

// Plan: the built page and what it reads are served from a fixed list, with types and policy, without
// a key; nothing else is; without a built page a line names the command.

const files = {
  "dist-web/index.html": "<!doctype html><title>page</title>",
  "dist-web/assets/index-1a2b.js": "export {};",
  "dist-web/assets/style-1a2b.css": "body {}",
  "dist-web/worklet.js": "1;",
  "dist-web/models/demo/files.json": "{}",
  "dist-web/models/demo/config.json": '{"copy":1}',
  "models/demo/config.json": "{}",
  "models/demo/model.safetensors": "weights",
  "models/demo/clips/a.wav": "RIFF",
  "models/demo/recipe/train.py": "print()",
  "golden/bundles/a.safetensors": "tensors",
  "golden/manifest.json": "[]",
  "package.json": "{}",
};

function madeRoot(names: readonly string[]): string {
  const root = mkdtempSync(join(tmpdir(), "page-"));
  onTestFinished(() => rmSync(root, { recursive: true }));
  for (const name of names) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), files[name as keyof typeof files]);
  }
  return root;
}

async function open(root: string, settings = {}): Promise<string> {
  const { server, address } = await fakeServer({ root, ...settings });
  onTestFinished(() => server.stop().then(() => undefined));
  return address;
}

test("types, caching, policy and content", async () => {
  const address = await open(madeRoot(Object.keys(files)), { apiKeys: ["k"], rateLimit: 2 });
  const table: [string, string, string, boolean][] = [
    ["/", "text/html; charset=utf-8", files["dist-web/index.html"], false],
    ["/index.html", "text/html; charset=utf-8", files["dist-web/index.html"], false],
    ["/assets/index-1a2b.js", "application/javascript; charset=utf-8", "export {};", true],
    ["/assets/style-1a2b.css", "text/css; charset=utf-8", "body {}", true],
    ["/worklet.js", "application/javascript; charset=utf-8", "1;", false],
    ["/models/demo/files.json", "application/json; charset=utf-8", "{}", false],
    ["/models/demo/config.json", "application/json; charset=utf-8", '{"copy":1}', false],
    ["/models/demo/model.safetensors", "application/octet-stream", "weights", false],
    ["/models/demo/clips/a.wav", "audio/wav", "RIFF", false],
    ["/golden/bundles/a.safetensors", "application/octet-stream", "tensors", false],
    ["/golden/manifest.json", "application/json; charset=utf-8", "[]", false],
  ];
  for (const [path, type, body, immutable] of table) {
    const answer = await fetch(address + path);
    const { headers } = answer;
    expect([path, answer.status, headers.get("content-type"), await answer.text()]).toEqual([
      path,
      200,
      type,
      body,
    ]);
    expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'; .*frame-ancestors 'none'$/);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("cache-control")).toMatch(immutable ? /immutable/ : /max-age=0/);
  }
  const tag = (await fetch(`${address}/index.html`)).headers.get("etag")!;
  const known = { "if-none-match": tag, "cache-control": "max-age=0" }; // fetch itself asks for no-cache
  const again = await fetch(`${address}/index.html`, { headers: known });
  expect(again.status).toBe(304);
  const part = await fetch(`${address}/models/demo/model.safetensors`, { headers: { range: "bytes=3-" } });
  expect([part.status, await part.text()]).toEqual([206, "ghts"]);
});

test("what is not in the list", async () => {
  const address = await open(madeRoot(Object.keys(files)));
  for (const path of [
    "/package.json",
    "/models/demo/recipe/train.py",
    "/models/demo/clips",
    "/dist-web/index.html",
    "/assets/..%2findex.html",
    "/assets/%2e%2e/%2e%2e/package.json",
    "/models/demo/clips/a.wav%00",
  ])
    expect([path, (await fetch(address + path)).status]).toEqual([path, 404]);
  expect((await fetch(`${address}/index.html`, { method: "POST" })).status).toBe(405);
  await fetch(`${address}/assets/index-1a2b.js`);
  const text = await (await fetch(`${address}/metrics`)).text();
  expect(text).toContain('funasr_requests_total{route="page",status="200"} 1');
  expect(await metric(address, "funasr_engine_ready")).toBe(1);
});

test("without a built page", async () => {
  const address = await open(madeRoot(["models/demo/config.json"]));
  const answer = await fetch(`${address}/`);
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("npm run web:build")]);
  expect((await fetch(`${address}/models/demo/config.json`)).status).toBe(404);
});

test("the package has the models that the page reads", () => {
  for (const name of ["models/demo/config.json", "models/vad/config.json"])
    expect(existsSync(join(packageRoot, name))).toBe(true);
});
