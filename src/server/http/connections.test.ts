import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { fakeServer, said } from "../../../test/helpers/fake-engine.js";
import { answerOf, jsonOf, raw, rawSocket, status } from "../../../test/helpers/raw-http.js";
import { metric, post } from "../../../test/helpers/uploads.js";

// Plan: what HTTP itself lets a client do wrong is refused in the API's form, each kind in a table;
// what is strange but right is answered; clients that send or read too slowly are cut off and keep
// nobody out. Over an engine without a model, and over connections that are written by hand.

const { engine, server, address } = await fakeServer();
afterAll(() => server.stop());
beforeEach(() => engine.reset());

const path = "/v1/audio/transcriptions";
const part = (head: string, value = ""): string =>
  `--x\r\ncontent-disposition: form-data; ${head}\r\n\r\n${value}\r\n`;
const model = part('name="model"', "demo");
const file = part('name="file"; filename="a.wav"', "RIFF");
const body = `${model}${file}--x--\r\n`;
const multipart = "content-type: multipart/form-data; boundary=x";
const get = (target: string, ...headers: string[]): string => head("GET", target, headers);
const send = (content: string, ...headers: string[]): string =>
  head("POST", path, [`content-length: ${content.length}`, ...headers]) + content;
function head(method: string, target: string, headers: readonly string[]): string {
  const lines = [`${method} ${target} HTTP/1.1`, "host: localhost", "connection: close", ...headers];
  return `${lines.join("\r\n")}\r\n\r\n`;
}
const upgrade = ["connection: upgrade", "upgrade: websocket"];
const key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";

describe("refused in the API's form", () => {
  test.each<[string, string, number, string | null]>([
    ["an unknown method", "FOO / HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, null],
    ["a method in small letters", "get / HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, null],
    ["a tunnel", "CONNECT a:1 HTTP/1.1\r\nhost: localhost\r\n\r\n", 405, null],
    ["another protocol", "\x16\x03\x01\x02\r\n\r\n", 400, null],
    ["HTTP/2 at once", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, null],
    ["a space in the target", "GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, null],
    ["no target", "GET  HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, null],
    ["no host", "GET /health HTTP/1.1\r\nconnection: close\r\n\r\n", 400, "host"],
    ["two hosts", get("/health", "host: localhost"), 400, "host"],
    ["a header without a colon", get("/health", "strange"), 400, null],
    ["a space in a header's name", get("/health", "x y: z"), 400, null],
    ["a zero in a header", get("/health", "x: a\0b"), 400, null],
    ["a long header", get("/health", `x: ${"y".repeat(20_000)}`), 431, null],
    ["a long target", get(`/${"y".repeat(20_000)}`), 431, null],
    ["two lengths", send("", "content-length: 4"), 400, null],
    ["a length below 0", head("POST", path, ["content-length: -1"]), 400, null],
    ["a length that is no number", head("POST", path, ["content-length: x"]), 400, null],
    ["a length beyond all numbers", head("POST", path, ["content-length: 99999999999999999999"]), 400, null],
    ["a length above the limit", head("POST", path, [multipart, "content-length: 99999999999"]), 413, "file"],
    ["a length beside chunks", send("", "transfer-encoding: chunked"), 400, null],
    [
      "chunks without a size",
      head("POST", path, [multipart, "transfer-encoding: chunked"]) + "x\r\n",
      400,
      null,
    ],
    ["a body that is packed", send(body, multipart, "content-encoding: gzip"), 415, "content-encoding"],
    ["another expectation", send(body, multipart, "expect: tea"), 417, "expect"],
    ["no type", send(body), 415, "content-type"],
    ["an empty type", send(body, "content-type:"), 415, "content-type"],
    ["a type that is none", send(body, "content-type: nonsense"), 415, "content-type"],
    ["JSON", send("{}", "content-type: application/json"), 415, "content-type"],
    ["another multipart type", send(body, "content-type: multipart/mixed; boundary=x"), 415, "content-type"],
    ["no boundary", send(body, "content-type: multipart/form-data"), 400, "body"],
    ["an empty boundary", send(body, "content-type: multipart/form-data; boundary="), 400, "body"],
    ["another boundary", send(body, "content-type: multipart/form-data; boundary=y"), 400, "body"],
    ["a long boundary", send(body, `${multipart}${"x".repeat(300)}`), 400, "body"],
    ["no last boundary", send(model + file, multipart), 400, "body"],
    ["too many fields", send(part("name=f").repeat(1101) + body, multipart), 413, "body"],
    ["too many files", send(part("name=f; filename=f").repeat(9) + body, multipart), 413, "body"],
    ["a field of every object", send(part("name=constructor") + body, multipart), 400, "body"],
    [
      "a part that is no JSON",
      send(part("name=model\r\ncontent-type: application/json", "{") + file + "--x--\r\n", multipart),
      400,
      "body",
    ],
    ["a file as a field", send(part('name="model"; filename="m"', "demo") + body, multipart), 400, "model"],
    [
      "a file as a value of a list",
      send(part('name="keywords[]"; filename="m"', "oven") + body, multipart),
      400,
      "keywords[]",
    ],
    [
      "a WebSocket without a key",
      get("/", ...upgrade, "sec-websocket-version: 13"),
      400,
      "sec-websocket-key",
    ],
    [
      "an old WebSocket",
      get("/", ...upgrade, key, "sec-websocket-version: 12"),
      400,
      "sec-websocket-version",
    ],
    ["a WebSocket with POST", head("POST", "/", [...upgrade, key, "sec-websocket-version: 13"]), 404, null],
    ["the realtime route without a WebSocket", get("/v1/realtime"), 426, null],
    [
      "two models of a session",
      get("/v1/realtime?model=demo&model=demo", ...upgrade, key, "sec-websocket-version: 13"),
      400,
      "model",
    ],
    [
      "a body for a route without one",
      head("POST", "/v1/models", ["content-type: x", "content-length: 1"]) + "{",
      405,
      null,
    ],
    [
      "a body for no route",
      head("POST", "/v1/none", ["content-type: x", "content-length: 1"]) + "{",
      404,
      null,
    ],
  ])("%s", async (_, request, expected, param) => {
    const answer = await raw(address, Buffer.from(request, "latin1"));
    expect([status(answer), jsonOf(answer).error]).toMatchObject([
      expected,
      { type: "invalid_request_error", param, message: expect.stringMatching(/^.{10,300}$/) as unknown },
    ]);
    expect(engine.jobs).toEqual([]);
    for (const name of ["uploads", "requests_open"])
      await expect.poll(() => metric(address, `funasr_${name}`), { timeout: 60_000 }).toBe(0);
  });

  test("a body whose client stops sending", async () => {
    const socket = rawSocket(address);
    socket.end(head("POST", path, [multipart, "content-length: 5000"]) + model);
    expect([jsonOf(await answerOf(socket)), await metric(address, "funasr_requests_open")]).toMatchObject([
      { error: { code: "invalid_body" } },
      0,
    ]);
  });
});

describe("strange, and answered", () => {
  const chunks = (text: string): string =>
    `${text.length.toString(16)};x=y\r\n${text}\r\n0\r\nx-after: 1\r\n\r\n`;
  const h2c = ["connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk"];
  test.each([
    ["chunks", [head("POST", path, [multipart, "transfer-encoding: chunked"]), chunks(body)]],
    ["an upload piece by piece", send(body, multipart).match(/[^]{1,7}/g)!],
    ["100-continue", [send(body, multipart, "expect: 100-continue")]],
    ["types in capitals", [send(body, multipart.toUpperCase().replace("BOUNDARY=X", "BOUNDARY=x"))]],
    ["a boundary in quotes", [send(body, multipart.replace("=x", '="x"'))]],
    ["text around the parts", [send(`before\r\n${body}behind`, multipart)]],
    ["a field behind the file", [send(`${file}${model}--x--\r\n`, multipart)]],
    ["the offer of HTTP/2", [send(body, multipart, ...h2c)]],
  ])("%s", async (_, pieces) => {
    expect(await raw(address, ...pieces)).toContain(JSON.stringify(said.text));
  });

  test("a request of HTTP/1.0, which needs no host", async () => {
    expect(status(await raw(address, "GET /v1/models HTTP/1.0\r\n\r\n"))).toBe(200);
  });

  test("three requests at once on a connection, in their order", async () => {
    const open = (text: string): string => text.replace("connection: close\r\n", "");
    const answer = await raw(address, open(send(body, multipart)), open(get("/v1/none")), get("/v1/models"));
    expect(answer.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 404", "HTTP/1.1 200"]);
  });

  test("localhost is both of its addresses", async () => {
    const other = await fakeServer({ host: "localhost" });
    onTestFinished(() => other.server.stop().then(() => undefined));
    const { port } = new URL(other.address);
    const sixth = connect(Number(port), "::1");
    const found = await Promise.race([once(sixth, "connect"), once(sixth, "error")]);
    sixth.destroy();
    expect(status(await raw(`http://127.0.0.1:${port}`, get("/health")))).toBe(200);
    if (found.length === 0) expect(status(await raw(`http://[::1]:${port}`, get("/health")))).toBe(200);
  });
});

describe("slow clients", () => {
  const settings = { stallMs: 300, jobs: 1, waiting: 1, drainMs: 100 };

  test("a body that comes too slowly takes no place and is cut off", async () => {
    const slow = await fakeServer(settings);
    onTestFinished(() => slow.server.stop().then(() => undefined));
    const begin = head("POST", path, [multipart, "content-length: 5000"]) + model + file;
    const clients = Array.from({ length: 4 }, () => raw(slow.address, begin));
    await expect.poll(() => metric(slow.address, "funasr_uploads"), { timeout: 60_000 }).toBeGreaterThan(1);
    expect((await post(slow.address)).status).toBe(200);
    for (const answer of await Promise.all(clients))
      expect([status(answer), jsonOf(answer)]).toMatchObject([
        408,
        { error: { param: "body", code: "request_timeout" } },
      ]);
    await expect.poll(() => metric(slow.address, "funasr_uploads"), { timeout: 60_000 }).toBe(0);
  });

  test("so many bodies come at once", async () => {
    const slow = await fakeServer({ ...settings, stallMs: 60_000 });
    onTestFinished(() => slow.server.stop().then(() => undefined));
    const begin = head("POST", path, [multipart, "content-length: 5000"]) + model + file;
    const clients = Array.from({ length: 10 }, () => rawSocket(slow.address));
    for (const client of clients) client.write(begin);
    await expect.poll(() => metric(slow.address, "funasr_uploads"), { timeout: 60_000 }).toBe(10);
    expect((await post(slow.address)).status).toBe(429);
    clients[0].destroy();
    await expect.poll(async () => (await post(slow.address)).status, { timeout: 60_000 }).toBe(200);
    for (const client of clients) client.destroy();
  });

  test.each([
    ["an answer", "", 1],
    ["a stream", part('name="stream"', "true"), 1],
    ["answers one behind the other", "", 3],
  ])("%s that nobody reads is dropped, and keeps nobody out", async (_, field, times) => {
    const slow = await fakeServer({ ...settings, stallMs: 500, drainMs: 60_000 });
    onTestFinished(() => slow.server.stop().then(() => undefined));
    const text = "word ".repeat(2_000_000);
    slow.engine.answer = (_, { onDelta }) => (onDelta?.(text), Promise.resolve({ ...said, text }));
    const request = send(field + body, multipart).replace("connection: close\r\n", "");
    const clients = Array.from({ length: 2 }, () => rawSocket(slow.address));
    for (const client of clients) client.pause().write(request.repeat(times));
    await expect.poll(() => slow.engine.jobs.length, { timeout: 60_000 }).toBe(2 * times);
    slow.engine.answer = () => Promise.resolve(said);
    expect((await post(slow.address)).status).toBe(200);
    expect(await slow.server.stop()).toBe(true); // it waits for all answers
    for (const client of clients) client.destroy();
  });

  test("an engine that is silent for longer is waited for", async () => {
    const slow = await fakeServer({ ...settings, stallMs: 100 });
    onTestFinished(() => slow.server.stop().then(() => undefined));
    slow.engine.answer = () => new Promise((resolve) => setTimeout(() => resolve(said), 1000));
    expect((await post(slow.address)).status).toBe(200);
  });
});
