import { afterAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { WebSocket } from "ws";
import { type FakeLive, fakeServer, said } from "../../../test/helpers/fake-engine.js";
import { rawSocket } from "../../../test/helpers/raw-http.js";
import { metric } from "../../../test/helpers/uploads.js";
import { EngineError } from "../engine/errors.js";
import { Spool } from "../http/spool.js";

// Plan: over an engine without a model, which says what it hears as it is told: the openai client's
// realtime events, the 2pass protocol in its three modes, Nano's protocol; what is wrong is refused
// by name and the connection lives; sessions are counted, bounded, finished by the server's end.

const { engine, server, address } = await fakeServer({ sessions: 3, maxUploadBytes: 50_000 });
afterAll(() => server.stop());
beforeEach(() => engine.reset());
const url = (path: string): string => address.replace("http", "ws") + path;

interface Talk {
  readonly socket: WebSocket;
  readonly heard: Record<string, unknown>[];
  readonly send: (...messages: (object | string | Buffer)[]) => void;
  /** The messages so far, once there are so many. */
  readonly hears: (count: number) => Promise<Record<string, unknown>[]>;
  readonly closed: Promise<number>;
}

async function talk(path: string, options: object = {}): Promise<Talk> {
  const socket = new WebSocket(url(path), options);
  onTestFinished(() => socket.terminate());
  const heard: Record<string, unknown>[] = [];
  socket.on("message", (data: Buffer) => heard.push(JSON.parse(data.toString()) as Record<string, unknown>));
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return {
    socket,
    heard,
    send: (...messages) => {
      for (const message of messages)
        socket.send(
          typeof message === "object" && !Buffer.isBuffer(message) ? JSON.stringify(message) : message,
        );
    },
    hears: async (count) => {
      await expect.poll(() => heard.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(count);
      return heard;
    },
    closed,
  };
}

/** Seconds of PCM. */
const pcm = (seconds: number, rate = 16_000): Buffer => Buffer.alloc(2 * rate * seconds, 1);
const [first, second] = said.segments;

/** Says two sentences: the first with partial texts when audio comes, the second with the commit. */
function twoSentences(): void {
  engine.live = ({ listener, samples, options }: FakeLive, call) => {
    if (call === "push" && samples === 16_000) {
      listener({ type: "started", start: first.start });
      listener({ type: "partial", start: first.start, stable: "turn", tentative: "of" });
      listener({ type: "partial", start: first.start, stable: "turn on", tentative: "the" });
      listener({ type: "stopped", start: first.start, end: first.end });
      listener({ type: "final", segment: options.words ? first : { ...first, words: undefined } });
    }
    if (call === "commit") {
      listener({ type: "started", start: second.start });
      listener({ type: "stopped", start: second.start, end: second.end });
      listener({ type: "final", segment: options.words ? second : { ...second, words: undefined } });
      listener({ type: "committed", seconds: 4.5 });
    }
  };
}

describe("FunASR's 2pass protocol", () => {
  const start = {
    mode: "2pass",
    wav_name: "w",
    wav_format: "pcm",
    is_speaking: true,
    chunk_size: [5, 10, 5],
    audio_fs: 16_000,
  };
  const end = { is_speaking: false };

  test("2pass", async () => {
    twoSentences();
    const client = await talk("/", { protocol: "binary" });
    client.send({ ...start, hotwords: '{"灯": 20, "oven": 10}', itn: false, svs_lang: "zh" }, pcm(1), {
      ...end,
      is_end: true,
    });
    expect(await client.hears(4)).toEqual([
      { mode: "2pass-online", wav_name: "w", text: "turn", is_final: false },
      { mode: "2pass-online", wav_name: "w", text: " on", is_final: false },
      {
        mode: "2pass-offline",
        wav_name: "w",
        text: "turn on the light",
        is_final: false,
        timestamp: "[[500,900],[1000,1400],[1500,1900],[2000,2400]]",
        stamp_sents: [
          {
            text_seg: "turn on the light",
            punc: "",
            start: 500,
            end: 2500,
            ts_list: [
              [500, 900],
              [1000, 1400],
              [1500, 1900],
              [2000, 2400],
            ],
          },
        ],
      },
      {
        mode: "2pass-offline",
        wav_name: "w",
        text: "打开灯",
        is_final: true,
        timestamp: "[[3000,3400]]",
        stamp_sents: [{ text_seg: "打开灯", punc: "", start: 3000, end: 4250, ts_list: [[3000, 3400]] }],
        is_end: true,
      },
    ]);
    expect(engine.lives[0].options).toMatchObject({
      hotwords: ["灯", "oven"],
      itn: false,
      language: "zh",
      endpoints: true,
    });
    expect(engine.lives[0].closed).toBe(true);
    client.send({ is_speaking: true }, pcm(1), end); // another recording on the same connection
    expect((await client.hears(8)).at(-1)).toMatchObject({ text: "打开灯", is_final: true });
  });

  test("online", async () => {
    twoSentences();
    const client = await talk("/");
    client.send({ ...start, mode: "online" }, pcm(1), end);
    const heard = await client.hears(5);
    expect(heard.map(({ text }) => text)).toEqual(["turn", " on", " the light", "打开灯", ""]);
    expect(heard.map(({ is_final: final }) => final)).toEqual([false, false, false, false, true]);
    expect(new Set(heard.map(({ mode }) => mode))).toEqual(new Set(["online"]));
  });

  test.each([
    ["pcm at 8 kHz", "pcm", 8000, pcm(1, 8000), "RIFF"],
    ["a file", "mp3", 16_000, Buffer.from("ID3 bytes"), "ID3 "],
    ["a WAV file as pcm", "pcm", 16_000, Buffer.from("RIFF bytes"), "RIFF b"],
  ])("offline: %s", async (_, format, rate, bytes, head) => {
    const client = await talk("/");
    client.send(
      { ...start, mode: "offline", wav_format: format, audio_fs: rate, hotwords: "oven lamp" },
      bytes.subarray(0, 5),
      bytes.subarray(5),
      end,
    );
    expect(await client.hears(1)).toMatchObject([
      { mode: "offline", wav_name: "w", text: said.text, is_final: true },
    ]);
    const [job] = engine.jobs;
    expect(job).toMatchObject({ name: "w", hotwords: ["oven", "lamp"], mode: 0o600 });
    expect(job.bytes.toString("latin1").startsWith(head)).toBe(true);
    expect(job.bytes.subarray(-bytes.length)).toEqual(bytes);
    if (rate === 8000) expect(job.bytes.readUInt32LE(24)).toBe(8000);
  });

  test("silence has an end all the same", async () => {
    engine.live = ({ listener }, call) => call === "commit" && listener({ type: "committed", seconds: 1 });
    for (const mode of ["2pass", "online"]) {
      const client = await talk("/");
      client.send({ ...start, mode }, pcm(1), end);
      expect(await client.hears(1)).toMatchObject([{ text: "", is_final: true }]);
    }
    const client = await talk("/");
    client.send(start, end);
    expect(await client.hears(1)).toMatchObject([{ mode: "2pass-offline", text: "", is_final: true }]);
  });

  test.each([
    ["no JSON", "{", "a JSON object"],
    ["a list", "{]", "a JSON object"],
    ["mode", { mode: "3pass" }, "mode"],
    ["rate", { audio_fs: "16000" }, "audio_fs"],
    ["rate", { audio_fs: 1 }, "audio_fs"],
    ["a file while it comes", { mode: "2pass", wav_format: "mp3" }, "wav_format"],
    ["format", { mode: "offline", wav_format: "../x" }, "wav_format"],
    ["hotwords", { hotwords: "{" }, "hotwords"],
    ["itn", { itn: "no" }, "itn"],
    ["language", { svs_lang: "xx" }, "svs_lang"],
    ["no object", "{} {}", "message"],
    ["mode", { mode: 1 }, "mode"],
    ["rate", { audio_fs: 1e300 }, "audio_fs"],
    ["rate", { audio_fs: -8000 }, "audio_fs"],
    ["rate", { audio_fs: 16_000.5 }, "audio_fs"],
    ["name", { wav_name: 5 }, "wav_name"],
    ["format", { mode: "offline", wav_format: "" }, "wav_format"],
    ["hotwords", { hotwords: 5 }, "hotwords"],
    ["hotwords", { hotwords: [1] }, "hotwords"],
    ["hotwords", { hotwords: { oven: "much" } }, "hotwords"],
    ["hotwords", { hotwords: "w ".repeat(1001) }, "hotwords"],
    ["itn", { itn: 1 }, "itn"],
    ["language", { svs_lang: 5 }, "svs_lang"],
    ["speaking", { is_speaking: "false" }, "is_speaking"],
    ["speaking", { is_speaking: 0 }, "is_speaking"],
    ["end", { is_speaking: false, is_end: "yes" }, "is_end"],
  ])("refused: %s", async (_, message, word) => {
    const client = await talk("/");
    client.send(message, pcm(0.1)); // what follows is not heard
    const [{ error, is_final: final }] = await client.hears(1);
    expect((error as { message: string }).message).toContain(word);
    expect([final, await client.closed]).toEqual([true, 1008]);
  });

  test("null is absent; lists of hotwords; a format in capitals", async () => {
    const client = await talk("/");
    const absent = { wav_name: null, hotwords: null, itn: null, svs_lang: null, is_end: null };
    client.send({ ...start, ...absent, mode: "offline", wav_format: "PCM" }, pcm(1), end);
    expect(await client.hears(1)).toMatchObject([{ wav_name: "demo", text: said.text, is_final: true }]);
    client.send({ hotwords: '["oven"]' }, pcm(1), end);
    client.send({ hotwords: ["lamp"] }, pcm(1), end);
    await client.hears(3);
    expect(engine.jobs.map(({ hotwords }) => hotwords)).toEqual([undefined, ["oven"], ["lamp"]]);
  });

  test("answers have the order of the recordings", async () => {
    let finish = (): void => undefined;
    engine.answer = () => new Promise((resolve) => (finish = () => resolve(said)));
    const client = await talk("/");
    client.send({ ...start, mode: "offline" }, pcm(1), end, end);
    await expect.poll(() => engine.jobs.length, { timeout: 60_000 }).toBe(1);
    client.socket.ping();
    await new Promise((resolve) => client.socket.once("pong", resolve));
    finish();
    expect((await client.hears(2)).map(({ text }) => text)).toEqual([said.text, ""]);
  });

  test("a disk that is full while the audio comes", async () => {
    const full = Object.assign(new Error("ENOSPC: /secret"), { code: "ENOSPC" });
    vi.spyOn(Spool.prototype, "write").mockRejectedValueOnce(full);
    const client = await talk("/");
    client.send({ ...start, mode: "offline" }, pcm(1));
    expect(await client.hears(1)).toMatchObject([{ error: { code: "storage_full" }, is_final: true }]);
    expect(await client.closed).toBe(1011);
    expect(await metric(address, "funasr_uploads")).toBe(0);
  });

  test("too large, and an engine that fails", async () => {
    const client = await talk("/");
    client.send({ ...start, mode: "offline" }, Buffer.alloc(30_000), Buffer.alloc(30_000));
    expect(await client.hears(1)).toMatchObject([{ error: { code: "request_too_large" }, is_final: true }]);
    engine.answer = () => Promise.reject(new EngineError({ kind: "damaged", message: "bad audio" }));
    const other = await talk("/");
    other.send({ ...start, mode: "offline" }, Buffer.alloc(3000), end);
    expect(await other.hears(1)).toMatchObject([{ error: { code: "invalid_audio", message: "bad audio" } }]);
    expect(await other.closed).toBe(1008);
    engine.answer = () => Promise.resolve(said);
    engine.live = ({ listener }) =>
      listener({ type: "failed", error: new EngineError({ kind: "unavailable", message: "gone" }) });
    const live = await talk("/");
    live.send(start, pcm(1));
    expect(await live.hears(1)).toMatchObject([{ error: { code: "engine_failed", message: "gone" } }]);
    expect(await live.closed).toBe(1011);
    const option = new EngineError({ kind: "option", message: "hotwords: too long", param: "keywords[]" });
    engine.live = ({ listener }) => listener({ type: "failed", error: option });
    const wrong = await talk("/");
    wrong.send(start, pcm(1));
    expect(await wrong.hears(1)).toMatchObject([{ error: { code: "invalid_value", param: "keywords[]" } }]);
    expect(await wrong.closed).toBe(1008);
  });
});

describe("Nano's protocol", () => {
  test("start, audio, stop", async () => {
    twoSentences();
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

  test("commits empty the list; what is wrong is refused and the session lives", async () => {
    twoSentences();
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
    twoSentences();
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
    const flood = (): void => void (socket.writable && socket.write(pings, () => setImmediate(flood)));
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
