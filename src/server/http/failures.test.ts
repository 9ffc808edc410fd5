import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { fakeServer, said } from "../../../test/helpers/fake-engine.js";
import { form } from "../../../test/helpers/serve.js";
import { audio, metric, post } from "../../../test/helpers/uploads.js";
import { EngineError, type FailureKind } from "../engine/errors.js";
import { Spool } from "./spool.js";

// Plan: each failure of the engine has its status; bodies that are too large or no forms; uploads
// are private and removed, also where the client goes away, which ends its job.

const { engine, server, address } = await fakeServer({ maxUploadBytes: 100_000 });
afterAll(() => server.stop());
beforeEach(() => engine.reset());

describe("failures", () => {
  test.each<[FailureKind, number, string | null]>([
    ["unsupported", 415, "file"],
    ["damaged", 422, "file"],
    ["long", 413, "file"],
    ["option", 400, "keywords[]"],
    ["busy", 429, null],
    ["unavailable", 503, null],
    ["deadline", 503, null],
    ["internal", 500, null],
  ])("%s: %d", async (kind, status, param) => {
    const given = kind === "option" ? { param: "keywords[]" } : {};
    engine.answer = () =>
      Promise.reject(new EngineError({ kind, message: "why", retryAfterSeconds: 7, ...given }));
    const answer = await post(address, {});
    expect(answer.status).toBe(status);
    expect(answer.headers.get("retry-after")).toBe("7");
    const { error } = (await answer.json()) as { error: Record<string, unknown> };
    expect(error).toMatchObject({
      param,
      message: kind === "internal" ? "the server failed on this request" : "why",
    });
  });

  test("a fault of the program keeps its words to itself", async () => {
    engine.answer = () => Promise.reject(new TypeError("secret of /etc/passwd"));
    const answer = await post(address, {});
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain("secret");
  });

  test("while the model is loaded", async () => {
    engine.state = "starting";
    const answer = await post(address, {});
    const health = await fetch(`${address}/health`);
    engine.state = "ready";
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "2"]);
    expect([health.status, await health.json()]).toMatchObject([503, { status: "starting", model: "demo" }]);
    expect((await fetch(`${address}/health`)).status).toBe(200);
  });

  test("logprobs of a checkpoint without a CTC head", async () => {
    engine.about = { ...engine.about, words: false };
    const answer = await post(address, { "include[]": "logprobs" });
    engine.about = { ...engine.about, words: true };
    expect(await answer.json()).toMatchObject({ error: { param: "include[]" } });
  });

  test("a part without a name is ignored", async () => {
    const part = (head: string, value: string): string =>
      `--x\r\ncontent-disposition: form-data; ${head}\r\n\r\n${value}\r\n`;
    const body =
      part('name="model"', "demo") +
      part("nam", "a") +
      part("", "b") +
      part('name="file"; filename="a.wav"', "c");
    const answer = await fetch(`${address}/v1/audio/transcriptions`, {
      method: "POST",
      headers: { "content-type": "multipart/form-data; boundary=x" },
      body: `${body}--x--\r\n`,
    });
    expect([answer.status, await answer.json()]).toMatchObject([200, { text: said.text }]);
  });

  test("a larger upload, with and without its length", async () => {
    const sizes = [100_001, 3_000_000];
    for (const size of sizes) expect((await post(address, {}, audio(size))).status).toBe(413);
    expect((await post(address, {}, audio(100_000))).status).toBe(200);
    const body = new Blob([
      "--x\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\n",
      new Uint8Array(200_000),
    ]);
    const answer = await fetch(`${address}/v1/audio/transcriptions`, {
      method: "POST",
      headers: { "content-type": "multipart/form-data; boundary=x" },
      body: body.stream(),
      duplex: "half",
    });
    expect(answer.status).toBe(413);
    expect(await metric(address, "funasr_uploads")).toBe(0);
  });

  test.each([
    ["json", "application/json", "{}", 415],
    ["text", "text/plain", "x", 415],
    ["raw audio", "audio/wav", "RIFF", 415],
    ["none", "", "", 415],
    ["no boundary", "multipart/form-data", "x", 400],
    [
      "no end",
      "multipart/form-data; boundary=x",
      "--x\r\ncontent-disposition: form-data; name=model\r\n\r\nde",
      400,
    ],
    ["no parts", "multipart/form-data; boundary=x", "hello", 400],
    [
      "a name of Object",
      "multipart/form-data; boundary=x",
      "--x\r\ncontent-disposition: form-data; name=__proto__\r\n\r\nde\r\n--x--",
      400,
    ],
  ])("a body that is no form: %s", async (_, type, body, status) => {
    const answer = await fetch(`${address}/v1/audio/transcriptions`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    expect([answer.status, await answer.json()]).toMatchObject([
      status,
      { error: { type: "invalid_request_error" } },
    ]);
  });
});

describe("uploads", () => {
  test.each(["ENOSPC", "EDQUOT", "EFBIG"])("a disk without room: %s", async (code) => {
    const full = Object.assign(new Error(`${code}: /secret`), { code });
    vi.spyOn(Spool.prototype, "write").mockRejectedValueOnce(full);
    const answer = await post(address, {});
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "30"]);
    expect(await answer.json()).toMatchObject({ error: { code: "storage_full" } });
    expect(await metric(address, "funasr_requests_open")).toBe(0);
    expect((await post(address, {})).status).toBe(200);
  });

  test("are private while they are worked on, and gone behind it", async () => {
    await post(address, {}, new File(["the bytes"], "../../etc/pass\u202ewd"));
    const [job] = engine.jobs;
    expect(job).toMatchObject({ mode: 0o600, name: "pass\u202ewd" });
    expect(job.bytes.toString()).toBe("the bytes");
    expect(job.file).not.toContain("pass");
    expect(await metric(address, "funasr_uploads")).toBe(0);
  });

  test("a client that goes away ends its job", async () => {
    const before = engine.cancelled;
    const gone = new AbortController();
    const begun = new Promise<void>((resolve) => {
      engine.answer = () => (resolve(), new Promise(() => undefined));
    });
    const answer = fetch(`${address}/v1/audio/transcriptions`, {
      method: "POST",
      body: form({ model: "demo" }, audio()),
      signal: gone.signal,
    });
    await begun;
    gone.abort();
    await expect(answer).rejects.toThrow();
    await expect.poll(() => engine.cancelled, { timeout: 60_000 }).toBe(before + 1);
    await expect.poll(() => metric(address, "funasr_uploads"), { timeout: 60_000 }).toBe(0);
    expect(await metric(address, "funasr_requests_open")).toBe(0);
  });

  test("a client that goes away in the upload leaves nothing", async () => {
    const gone = new AbortController();
    const body = new ReadableStream({
      start: (stream) =>
        stream.enqueue(
          Buffer.from("--x\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\nabc"),
        ),
    });
    const answer = fetch(`${address}/v1/audio/transcriptions`, {
      method: "POST",
      headers: { "content-type": "multipart/form-data; boundary=x" },
      body,
      duplex: "half",
      signal: gone.signal,
    });
    await expect.poll(() => metric(address, "funasr_uploads"), { timeout: 60_000 }).toBe(1);
    gone.abort();
    await expect(answer).rejects.toThrow();
    await expect.poll(() => metric(address, "funasr_uploads"), { timeout: 60_000 }).toBe(0);
    expect(await metric(address, "funasr_requests_open")).toBe(0);
  });
});
