import { afterAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { fakeServer, said } from "../../../test/helpers/fake-engine.js";
import { rawSocket } from "../../../test/helpers/raw-http.js";
import { type Talk, pcm, talkTo, twoSentences } from "../../../test/helpers/socket-talk.js";
import { metric } from "../../../test/helpers/uploads.js";

// Plan: over an engine without a model: Nano's protocol, and what holds for every session: they are
// counted, bounded, read as fast as the engine works, and finished by the server's end.

const { engine, server, address } = await fakeServer({ sessions: 3, maxUploadBytes: 50_000 });
afterAll(() => server.stop());
beforeEach(() => engine.reset());
const talk = (path: string): Promise<Talk> => talkTo(address, path);
const second = said.segments[1];

describe("Nano's protocol", () => {
  test("start, audio, stop", async () => {
    twoSentences(engine);
    const client = await talk("/");
    client.send("START", "HOTWORDS:oven, 灯", "LANGUAGE:English", pcm(1), "STOP");
    const sentence = { text: "turn on the light", start: 500, end: 2500 };
    const partial = (text: string): object => ({
      sentences: [],
      partial: text,
      partial_start_ms: 500,
      duration_ms: 1000,
      is_final: false,
    });
    expect(await client.hears(9)).toEqual([
      { event: "started" },
      { event: "hotwords_set", hotwords: ["oven", "灯"] },
      { event: "language_set", language: "English" },
      partial("turn of"),
      partial("turn on the"),
      { sentences: [sentence], partial: "", partial_start_ms: 1000, duration_ms: 1000, is_final: false },
      expect.objectContaining({ is_final: false }) as unknown,
      {
        sentences: [sentence, { text: "打开灯", start: 3000, end: 4250 }],
        partial: "",
        partial_start_ms: 0,
        duration_ms: 1000,
        is_final: true,
      },
      { event: "stopped" },
    ]);
    expect(engine.lives[0].options).toMatchObject({ hotwords: ["oven", "灯"], language: "en", words: false });
  });

  test("audio before START is refused once, audio behind STOP is not heard", async () => {
    const client = await talk("/");
    client.send("HOTWORDS:oven", pcm(0.1), pcm(0.1), "STOP", pcm(0.1), "START", "STOP");
    expect((await client.hears(5)).slice(1)).toEqual([
      { event: "error", error: "audio: expected START before it, got audio alone" },
      { event: "stopped" },
      { event: "started" },
      { event: "stopped" },
    ]);
    expect(engine.lives).toEqual([]);
  });

  test("commits empty the list; what is wrong is refused and the session lives", async () => {
    twoSentences(engine);
    const client = await talk("/");
    const words = `HOTWORDS:${"w,".repeat(1001)}`;
    client.send("COMMIT", "LANGUAGE:xx", "WHAT", "", "3", '{"mode":"2pass"}', words, "STOP");
    const text = (got: string): object => ({
      event: "error",
      error: expect.stringContaining(`got ${got}`) as unknown,
    });
    expect(await client.hears(8)).toEqual([
      { event: "error", error: "Session is not active; send START first" },
      { event: "error", error: 'LANGUAGE: expected a language by its code, such as en or zh, got "xx"' },
      text('"WHAT"'),
      text('""'),
      text('"3"'),
      text('"{'),
      { event: "error", error: "HOTWORDS: expected at most 1000 words, got 1001" },
      { event: "stopped" },
    ]);
    client.send("start", pcm(0.5), "COMMIT", pcm(0.1), "COMMIT");
    const finals = (): unknown[] => client.heard.filter(({ is_final: final }) => final === true);
    await expect.poll(() => finals().length, { timeout: 60_000 }).toBe(2);
    for (const final of finals()) expect(final).toMatchObject({ sentences: [{ text: "打开灯" }] });
  });
});

describe("sessions", () => {
  test("so many at once; they are counted, and leave nothing", async () => {
    const clients = [await talk("/"), await talk("/"), await talk("/v1/realtime?intent=transcription")];
    const count = async (): Promise<string> =>
      (await (await fetch(`${address}/metrics`)).text()).match(/^funasr_sessions (\d+)$/m)![1];
    expect(await count()).toBe("3");
    await expect(talk("/")).rejects.toThrow("429");
    for (const { socket } of clients) socket.close();
    await expect.poll(count, { timeout: 60_000 }).toBe("0");
  });

  test("audio before all else is refused, and the session goes on", async () => {
    engine.live = ({ listener }, call) => call === "commit" && listener({ type: "committed", seconds: 1 });
    const client = await talk("/");
    client.send(pcm(0.1), { mode: "2pass" }, pcm(0.1), { is_speaking: false });
    expect(await client.hears(2)).toMatchObject([
      { event: "error", error: expect.stringContaining("expected START, or settings in JSON") as unknown },
      { mode: "2pass-offline", is_final: true },
    ]);
  });

  test("a client that goes away closes its session", async () => {
    const client = await talk("/");
    client.send({ mode: "2pass" }, pcm(1));
    await expect.poll(() => engine.lives.length, { timeout: 60_000 }).toBe(1);
    client.socket.terminate();
    await expect.poll(() => engine.lives[0].closed, { timeout: 60_000 }).toBe(true);
  });

  test("a client that is too fast is not read until the engine has caught up", async () => {
    const client = await talk("/");
    client.send({ mode: "2pass" }, pcm(40));
    await expect.poll(() => engine.lives[0]?.samples, { timeout: 60_000 }).toBe(640_000);
    engine.lives[0].listener({ type: "heard", seconds: 1 });
    client.send(pcm(1));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(engine.lives[0].samples).toBe(640_000);
    engine.lives[0].listener({ type: "heard", seconds: 39 });
    await expect.poll(() => engine.lives[0].samples, { timeout: 60_000 }).toBe(656_000);
  });

  test("audio of a mode before another one is answered too, and leaves nothing", async () => {
    twoSentences(engine);
    const client = await talk("/");
    client.send({ mode: "offline" }, Buffer.alloc(3000), { mode: "2pass" }, pcm(1), { is_speaking: false });
    const final = (): unknown[] => client.heard.filter(({ is_final }) => is_final);
    await expect.poll(() => final().length, { timeout: 60_000 }).toBe(2);
    client.socket.terminate();
    for (const name of ["uploads", "requests_open", "sessions"])
      await expect.poll(() => metric(address, `funasr_${name}`), { timeout: 60_000 }).toBe(0);
  });

  test("a client that reads nothing and goes on to ask is cut off", async () => {
    const socket = rawSocket(address);
    socket.pause();
    const key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13";
    socket.write(
      `GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n${key}\r\n\r\n`,
    );
    const ping = Buffer.concat([Buffer.from([0x89, 0xfd, 0, 0, 0, 0]), Buffer.alloc(125)]);
    const pings = Buffer.concat(new Array<Buffer>(8000).fill(ping));
    const closed = new Promise((resolve) => socket.on("close", resolve).on("error", resolve));
    const flood = (): void => {
      if (socket.writable) socket.write(pings, () => setImmediate(flood));
    };
    flood();
    await closed;
    await expect.poll(() => metric(address, "funasr_sessions"), { timeout: 60_000 }).toBe(0);
  });

  test("a message that is too large ends its connection", async () => {
    const client = await talk("/");
    client.send(Buffer.alloc(17 * 2 ** 20));
    expect(await client.closed).toBe(1009);
  });

  test.each(["/v1/realtime?intent=chat", "/v1/realtime?model=other", "/none", "/v1/models"])(
    "no session: %s",
    async (path) => {
      await expect(talk(path)).rejects.toThrow(/4\d\d/);
    },
  );

  test("keys, and web pages", async () => {
    const guarded = await fakeServer({ apiKeys: ["k"] });
    onTestFinished(() => guarded.server.stop().then(() => undefined));
    const open = async (protocols: string[], headers: Record<string, string> = {}): Promise<string> => {
      const socket = new WebSocket(guarded.address.replace("http", "ws") + "/", protocols, { headers });
      await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
      const { protocol } = socket;
      socket.terminate();
      return protocol;
    };
    await expect(open([])).rejects.toThrow("401");
    await expect(open(["openai-insecure-api-key.no"])).rejects.toThrow("401");
    expect(await open([], { authorization: "Bearer k" })).toBe("");
    expect(await open(["openai-insecure-api-key.k", "realtime"])).toBe("realtime");
    await expect(open([], { authorization: "Bearer k", origin: "http://evil.example" })).rejects.toThrow(
      "403",
    );
  });

  test("the server's end finishes what was heard", async () => {
    const other = await fakeServer();
    other.engine.live = ({ listener }, call) => {
      if (call === "commit") {
        listener({ type: "final", segment: second });
        listener({ type: "committed", seconds: 1 });
      }
    };
    const socket = new WebSocket(other.address.replace("http", "ws") + "/");
    const heard: string[] = [];
    socket.on("message", (data: Buffer) => heard.push(data.toString()));
    const closed = new Promise((resolve) => socket.on("close", resolve));
    await new Promise((resolve) => socket.once("open", resolve));
    socket.send('{"mode":"2pass"}');
    socket.send(pcm(1));
    await expect.poll(() => other.engine.lives.length, { timeout: 60_000 }).toBe(1);
    expect(await other.server.stop()).toBe(true);
    expect(await closed).toBe(1001);
    expect(heard.map((text) => (JSON.parse(text) as { text: string }).text)).toEqual(["打开灯"]);
  });
});
