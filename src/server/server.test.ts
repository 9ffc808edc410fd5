import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, onTestFinished, test } from "vitest";
import { type FakeEngine, fakeServer, said } from "../../test/helpers/fake-engine.js";
import { jsonOf, raw, status } from "../../test/helpers/raw-http.js";
import { form } from "../../test/helpers/serve.js";
import type { ServerSettings } from "./settings.js";

// Plan: who may ask what: keys, web pages, hosts, routes and methods; so many at once, so many a
// minute, so long; and how the server ends: running requests are answered, new ones refused, no
// file is left. Over an engine without a model.

async function open(
  settings: Partial<ServerSettings> = {},
): Promise<{ engine: FakeEngine; address: string; stop: () => Promise<boolean> }> {
  const { engine, server, address } = await fakeServer(settings);
  onTestFinished(() => server.stop().then(() => undefined));
  return { engine, address, stop: () => server.stop() };
}
const send = (address: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${address}/v1/audio/transcriptions`, {
    method: "POST",
    headers,
    body: form({ model: "demo" }, new File(["x"], "a.wav")),
  });

describe("keys", () => {
  test("a request needs one of them", async () => {
    const { address } = await open({ apiKeys: ["first", "second"] });
    for (const key of ["first", "second"])
      expect((await send(address, { authorization: `Bearer ${key}` })).status).toBe(200);
    const wrong: Record<string, string>[] = [
      {},
      { authorization: "Bearer firs" },
      { authorization: "first" },
      { authorization: "Basic first" },
    ];
    for (const headers of wrong) {
      const answer = await send(address, headers);
      expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([
        401,
        'Bearer realm="funasr-webgpu"',
      ]);
      expect(await answer.json()).toMatchObject({
        error: { type: "authentication_error", code: "invalid_api_key" },
      });
    }
    for (const path of ["/metrics", "/v1/models", "/v1/none"])
      expect((await fetch(address + path)).status).toBe(401);
    for (const path of ["/", "/health"]) expect((await fetch(address + path)).status).toBe(200);
  });
});

describe("web pages", () => {
  test.each([
    [{}, "http://evil.example", 403],
    [{}, "null", 403],
    [{ origins: ["https://page.example"] }, "https://page.example", 200],
    [{ origins: ["https://page.example"] }, "https://other.example", 403],
    [{ origins: ["*"] }, "https://other.example", 200],
  ] as [Partial<ServerSettings>, string, number][])("%j: %s: %d", async (settings, origin, expected) => {
    const { address } = await open(settings);
    const answer = await send(address, { origin });
    expect(answer.status).toBe(expected);
    const allowed = answer.headers.get("access-control-allow-origin");
    expect(allowed).toBe(expected === 403 ? null : settings.origins!.includes("*") ? "*" : origin);
  });

  test("the server's own page, and no CORS where none is named", async () => {
    const { address } = await open();
    const answer = await send(address, { origin: address });
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([200, null]);
  });

  test("a name that leads to loopback is refused: a page may have made it so", async () => {
    const { address } = await open();
    const head = "GET /v1/models HTTP/1.1\r\nconnection: close\r\nhost: ";
    expect(status(await raw(address, `${head}evil.example\r\n\r\n`))).toBe(403);
    expect(status(await raw(address, `${head}localhost:80\r\n\r\n`))).toBe(200);
    const withKey = await open({ apiKeys: ["k"] });
    expect(status(await raw(withKey.address, `${head}name.example\r\nauthorization: Bearer k\r\n\r\n`))).toBe(
      200,
    );
  });
});

describe("routes", () => {
  test.each([
    ["GET", "/v1/audio/transcriptions", 405, "POST"],
    ["PUT", "/v1/audio/translations", 405, "POST"],
    ["POST", "/v1/models", 405, "GET"],
    ["DELETE", "/health", 405, "GET"],
    ["GET", "/v1/none", 404, null],
    ["GET", "/../../etc/passwd", 404, null],
    ["GET", "/%2e%2e/%2e%2e/etc/passwd", 404, null],
    ["GET", "/v1/models/%2e%2e%2fetc", 404, null],
    ["GET", "/%", 400, null],
  ])("%s %s: %d", async (method, path, expected, allow) => {
    const { address } = await open();
    const head = `${method} ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`;
    const answer = await raw(address, head);
    expect(status(answer)).toBe(expected);
    expect(/^allow: (.*)\r$/im.exec(answer)?.[1] ?? null).toBe(allow);
    expect(jsonOf(answer)).toMatchObject({ error: { type: "invalid_request_error" } });
  });

  test("metrics", async () => {
    const { address } = await open();
    await send(address);
    const text = await (await fetch(`${address}/metrics`)).text();
    for (const line of [
      'funasr_requests_total{route="/v1/audio/transcriptions",status="200"} 1',
      "funasr_audio_seconds_total 4.5",
      "funasr_work_seconds_total 0.5",
      "funasr_tokens_total 6",
      "funasr_engine_ready 1",
      "funasr_engine_restarts 1",
      "funasr_engine_hangs 2",
      "funasr_queue_length 3",
      "funasr_rows_running 2",
      "funasr_gpu_weight_bytes 100",
      "funasr_gpu_bytes 200",
      `funasr_real_time_factor ${0.5 / 4.5}`,
    ])
      expect(text.split("\n")).toContain(line);
    await fetch(`${address}/v1/none`);
    expect(await (await fetch(`${address}/metrics`)).text()).toContain(
      'funasr_errors_total{kind="not_found"} 1',
    );
  });
});

describe("limits", () => {
  test("so many requests at once, with a time to come back", async () => {
    const { engine, address } = await open({ jobs: 2, waiting: 1 });
    const ends: (() => void)[] = [];
    engine.answer = () => new Promise((resolve) => ends.push(() => resolve(said)));
    const three = [send(address), send(address), send(address)];
    await expect.poll(() => ends.length, { timeout: 60_000 }).toBe(3);
    const refused = await send(address);
    expect([refused.status, Number(refused.headers.get("retry-after")) > 0]).toEqual([429, true]);
    expect(await refused.json()).toMatchObject({ error: { type: "rate_limit_error", code: "server_busy" } });
    for (const end of ends) end();
    expect((await Promise.all(three)).map((answer) => answer.status)).toEqual([200, 200, 200]);
    engine.answer = () => Promise.resolve(said);
    await expect.poll(async () => (await send(address)).status, { timeout: 60_000 }).toBe(200);
  });

  test("so many a minute of a key", async () => {
    const { address } = await open({ rateLimit: 2, apiKeys: ["a", "b"] });
    const codes: number[] = [];
    for (const key of ["a", "a", "a", "b"]) {
      const answer = await fetch(`${address}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
      codes.push(answer.status);
      if (answer.status === 429) expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(codes).toEqual([200, 200, 429, 200]);
  });

  test("a request without a result in time", async () => {
    const { engine, address } = await open({ timeoutMs: 20 });
    engine.answer = () => new Promise(() => undefined);
    const answer = await send(address);
    expect([answer.status, engine.cancelled]).toEqual([503, 1]);
    expect(await answer.json()).toMatchObject({ error: { code: "deadline_exceeded" } });
  });
});

const uploads = (): string[] =>
  readdirSync(tmpdir()).filter(
    (name) => name.startsWith("funasr-webgpu-uploads.") && name.includes(`.${process.pid}.`),
  );

describe("the end", () => {
  test("what runs is answered, new requests are refused, nothing is left", async () => {
    const before = uploads().length;
    const { engine, address, stop } = await open();
    expect(uploads()).toHaveLength(before + 1);
    let finish = (): void => undefined;
    engine.answer = () => new Promise((resolve) => (finish = () => resolve(said)));
    const running = send(address);
    await expect.poll(() => engine.jobs.length, { timeout: 60_000 }).toBe(1);
    const ended = stop();
    const refused = await send(address);
    expect([refused.status, (await fetch(`${address}/health`)).status]).toEqual([503, 503]);
    expect(existsSync(engine.jobs[0].file)).toBe(true);
    finish();
    expect([(await running).status, await ended]).toEqual([200, true]);
    await expect(send(address)).rejects.toThrow();
    expect(uploads()).toHaveLength(before);
  });

  test("what runs too long is ended", async () => {
    const { engine, address, stop } = await open({ drainMs: 20 });
    engine.answer = () => new Promise(() => undefined);
    const running = send(address);
    running.catch(() => undefined);
    await expect.poll(() => engine.jobs.length, { timeout: 60_000 }).toBe(1);
    expect(await stop()).toBe(false);
    await expect(running).rejects.toThrow();
  });
});
