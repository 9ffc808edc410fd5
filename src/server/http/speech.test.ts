import OpenAI from "openai";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import webvtt from "webvtt-parser";
import { fakeServer, said } from "../../../test/helpers/fake-engine.js";
import { audio, post } from "../../../test/helpers/uploads.js";
import { EngineError } from "../engine/errors.js";

// Plan: over an engine without a model, the openai client reads every format and the stream; an
// error before a stream's first text has its status, and one behind it is an event.

const { engine, server, address } = await fakeServer();
afterAll(() => server.stop());
beforeEach(() => engine.reset());
const openai = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0 });
const transcriptions = openai.audio.transcriptions;

test("warnings about the audio", async () => {
  const warnings = ["clip.wav: 1.00 s could be decoded of 2.00 s"];
  engine.answer = () => Promise.resolve({ ...said, warnings });
  for (const response_format of ["json", "verbose_json"])
    expect(await (await post(address, { response_format })).json()).toMatchObject({ warnings });
  const stream = await (await post(address, { stream: "true" })).text();
  expect(stream).toContain(`"warnings":${JSON.stringify(warnings)}`);
  engine.answer = () => Promise.resolve(said);
  expect(await (await post(address)).json()).not.toHaveProperty("warnings");
});

describe("formats, through the openai client", () => {
  test("json", async () => {
    expect(await transcriptions.create({ file: audio(), model: "whisper-1", include: ["logprobs"] })).toEqual(
      {
        text: said.text,
        logprobs: said.segments.flatMap(({ words = [] }) =>
          words.map(({ text }) => ({ token: text, logprob: Math.log(0.5), bytes: [...Buffer.from(text)] })),
        ),
        usage: {
          type: "tokens",
          input_tokens: 60,
          input_token_details: { audio_tokens: 40, text_tokens: 20 },
          output_tokens: 6,
          total_tokens: 66,
        },
      },
    );
    expect(await transcriptions.create({ file: audio(), model: "demo" })).not.toHaveProperty("logprobs");
  });

  test("text is plain", async () => {
    expect(await transcriptions.create({ file: audio(), model: "demo", response_format: "text" })).toBe(
      said.text,
    );
  });

  test("srt", async () => {
    expect(await transcriptions.create({ file: audio(), model: "demo", response_format: "srt" })).toBe(
      "1\n00:00:00,500 --> 00:00:02,400\nturn on the light\n\n2\n00:00:03,000 --> 00:00:04,000\n打开灯\n",
    );
  });

  test("vtt, which W3C's parser takes", async () => {
    const text = await transcriptions.create({
      file: audio(),
      model: "demo",
      response_format: "vtt",
    });
    const { cues, errors } = new webvtt.WebVTTParser().parse(text, "subtitles");
    expect(errors).toEqual([]);
    expect(cues.map(({ startTime, endTime }) => [startTime, endTime])).toEqual([
      [0.5, 2.4],
      [3, 4],
    ]);
  });

  test.each([
    [undefined, true, false],
    [["segment"], true, false],
    [["word"], false, true],
    [["word", "segment"], true, true],
  ] as const)("verbose_json with granularities %j", async (granularities, segments, words) => {
    const answer = await transcriptions.create({
      file: audio(),
      model: "demo",
      response_format: "verbose_json",
      ...(granularities && { timestamp_granularities: [...granularities] }),
    });
    expect(answer).toEqual({
      task: "transcribe",
      language: "english",
      duration: 4.5,
      text: said.text,
      ...(segments && {
        segments: said.segments.map(({ start, end, text, tokenIds }, id) => ({
          id,
          seek: start * 100,
          start,
          end,
          text,
          tokens: tokenIds,
          temperature: 0,
          avg_logprob: Math.log(0.5),
          compression_ratio: expect.any(Number) as number,
          no_speech_prob: 0,
        })),
      }),
      ...(words && {
        words: ["turn", "on", "the", "light", "打开灯"].map((word, i) => {
          const start = i < 4 ? 0.5 + i / 2 : 3;
          return { word, start, end: start + 0.4 };
        }),
      }),
      usage: { type: "duration", seconds: 4.5 },
    });
  });

  test("translations", async () => {
    const answer = await openai.audio.translations.create({
      file: audio(),
      model: "demo",
      response_format: "verbose_json",
      prompt: "home",
    });
    expect(answer).toMatchObject({ task: "translate", language: "english", text: said.text });
    expect(engine.jobs[0].task).toBe("translate");
  });

  test("models", async () => {
    const models = [];
    for await (const model of openai.models.list()) models.push(model);
    expect(models).toEqual([
      { id: "demo", object: "model", created: expect.any(Number) as number, owned_by: "funasr-webgpu" },
    ]);
    expect(await openai.models.retrieve("demo")).toEqual(models[0]);
    await expect(openai.models.retrieve("other")).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
    });
  });
});

describe("streams", () => {
  test("the openai client gets the deltas and one done", async () => {
    const events = [];
    for await (const event of await transcriptions.create({ file: audio(), model: "demo", stream: true }))
      events.push(event);
    expect(events).toMatchObject([
      { type: "transcript.text.delta", delta: "turn on the light" },
      { type: "transcript.text.delta", delta: " 打开灯" },
      { type: "transcript.text.done", text: said.text, usage: { type: "tokens", total_tokens: 66 } },
    ]);
  });

  test("the bytes end with [DONE], once", async () => {
    const answer = await post(address, { stream: "true" });
    expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const lines = (await answer.text()).split("\n\n");
    expect(lines.slice(-2)).toEqual(["data: [DONE]", ""]);
    expect(lines.filter((line) => line.includes("transcript.text.done"))).toHaveLength(1);
  });

  test("an error before the first text has its status, one behind it is an event", async () => {
    engine.answer = () => Promise.reject(new EngineError({ kind: "damaged", message: "clip.wav: bad" }));
    expect((await post(address, { stream: "true" })).status).toBe(422);
    engine.answer = (_, { onDelta }) => {
      onDelta?.("turn");
      return Promise.reject(new EngineError({ kind: "unavailable", message: "the engine failed" }));
    };
    const text = await (await post(address, { stream: "true" })).text();
    expect(text).toContain(
      'data: {"error":{"message":"the engine failed","type":"server_error","param":null,"code":"engine_unavailable"}}',
    );
    expect(text).not.toContain("[DONE]");
    const read = async (): Promise<void> => {
      for await (const event of await transcriptions.create({ file: audio(), model: "demo", stream: true }))
        expect(event).not.toHaveProperty("text");
    };
    await expect(read()).rejects.toThrow("the engine failed");
  });
});
