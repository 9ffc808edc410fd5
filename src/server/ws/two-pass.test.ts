import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { fakeServer, said } from "../../../test/helpers/fake-engine.js";
import { type Talk, pcm, talkTo, twoSentences } from "../../../test/helpers/socket-talk.js";
import { metric } from "../../../test/helpers/uploads.js";
import { EngineError } from "../engine/errors.js";
import { Spool } from "../http/spool.js";

// Plan: the 2pass protocol in its three modes, over an engine without a model: the test sets what
// that engine hears. A refusal names the field that is wrong.

const { engine, server, address } = await fakeServer({ sessions: 3, maxUploadBytes: 50_000 });
afterAll(() => server.stop());
beforeEach(() => engine.reset());
const talk = (path: string, options?: object): Promise<Talk> => talkTo(address, path, options);

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
    twoSentences(engine);
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
    twoSentences(engine);
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
