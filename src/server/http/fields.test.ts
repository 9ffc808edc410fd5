import OpenAI from "openai";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { fakeServer } from "../../../test/helpers/fake-engine.js";
import { form } from "../../../test/helpers/serve.js";
import { type Fields, audio, metric, post } from "../../../test/helpers/uploads.js";

// Plan: each field reaches the engine, in every way that clients write lists and objects; wrong
// fields are refused by name before the engine hears of them, and their upload is removed.

const { engine, server, address } = await fakeServer();
afterAll(() => server.stop());
beforeEach(() => engine.reset());
const openai = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0 });
const transcriptions = openai.audio.transcriptions;

describe("fields", () => {
  test.each<[Fields, object]>([
    [{}, { task: "transcribe", words: false, name: "clip.wav", maxSeconds: 14_400 }],
    [{ language: "en" }, { language: "en" }],
    [{ language: "zh-CN" }, { language: "zh" }],
    [{ language: "English" }, { language: "en" }],
    [{ language: "" }, {}],
    [{ "languages[]": ["en"] }, { language: "en" }],
    [{ "languages[]": ["en", "zh"] }, {}],
    [{ language: "zh", "languages[]": ["en", "zh"] }, { language: "zh" }],
    [{ prompt: "a kitchen" }, { context: "a kitchen" }],
    [{ "keywords[]": ["oven", "灯"] }, { hotwords: ["oven", "灯"] }],
    [{ keywords: "oven" }, { hotwords: ["oven"] }],
    [{ "keywords[0]": "oven", "keywords[1]": "lamp" }, { hotwords: ["oven", "lamp"] }],
    [{ response_format: "srt" }, { words: true }],
    [{ temperature: "0.4" }, {}],
    [{ chunking_strategy: "auto" }, { cut: {} }],
    [
      { chunking_strategy: '{"type":"server_vad","silence_duration_ms":300}' },
      { cut: { maxEndSilenceMs: 300 } },
    ],
    [
      {
        "chunking_strategy[type]": "server_vad",
        "chunking_strategy[silence_duration_ms]": "300",
        "chunking_strategy[threshold]": "0.5",
      },
      { cut: { maxEndSilenceMs: 300 } },
    ],
    [{ unknown: "x", "known_speaker_names[]": ["a"] }, {}],
    [{ keywords: '["oven", "灯"]' }, { hotwords: ["oven", "灯"] }],
    [{ keywords: "[oven]" }, { hotwords: ["[oven]"] }],
    [{ "languages[]": '["en"]' }, { language: "en" }],
    [{ chunking_strategy: '{"type":"server_vad","threshold":null,"silence_duration_ms":null}' }, { cut: {} }],
  ])("%j", async (fields, expected) => {
    const answer = await post(address, fields);
    expect(answer.status).toBe(200);
    expect(engine.jobs[0]).toMatchObject(expected);
    const { language = "none" } = expected as { language?: string };
    expect(engine.jobs[0].language ?? "none").toBe(language);
  });

  test("objects and lists of the openai client", async () => {
    await transcriptions.create({
      file: audio(),
      model: "demo",
      response_format: "verbose_json",
      chunking_strategy: {
        type: "server_vad",
        prefix_padding_ms: 100,
        silence_duration_ms: 250,
        threshold: 0.4,
      },
      timestamp_granularities: ["word"],
      temperature: 0.2,
      prompt: "a kitchen",
      language: "en",
    });
    expect(engine.jobs[0]).toMatchObject({
      cut: { maxEndSilenceMs: 250 },
      context: "a kitchen",
      language: "en",
      words: true,
    });
  });

  test.each<[Fields, string, number?]>([
    [{ model: "" }, "model"],
    [{ model: "other" }, "model", 404],
    [{ model: ["demo", "demo"] }, "model"],
    [{ language: "xx" }, "language"],
    [{ language: "not a language" }, "language"],
    [{ "languages[]": ["en", "xx"] }, "languages[]"],
    [{ response_format: "diarized_json" }, "response_format"],
    [{ response_format: "JSON" }, "response_format"],
    [{ temperature: "hot" }, "temperature"],
    [{ temperature: "-0.1" }, "temperature"],
    [{ temperature: "1.1" }, "temperature"],
    [{ temperature: "NaN" }, "temperature"],
    [{ temperature: "Infinity" }, "temperature"],
    [{ temperature: "0x1" }, "temperature"],
    [{ temperature: "1_0" }, "temperature"],
    [{ temperature: "true" }, "temperature"],
    [{ temperature: ["0", "1"] }, "temperature"],
    [{ stream: ["true", "false"] }, "stream"],
    [{ timestamp_granularities: '["letter"]', response_format: "verbose_json" }, "timestamp_granularities[]"],
    [{ "chunking_strategy[silence_duration_ms]": "300" }, "chunking_strategy.type"],
    [{ chunking_strategy: '{"type":"server_vad","threshold":true}' }, "chunking_strategy.threshold"],
    [
      { chunking_strategy: '{"type":"server_vad","silence_duration_ms":1e400}' },
      "chunking_strategy.silence_duration_ms",
    ],
    [{ "timestamp_granularities[]": "letter", response_format: "verbose_json" }, "timestamp_granularities[]"],
    [{ "timestamp_granularities[]": "word" }, "timestamp_granularities[]"],
    [{ stream: "yes" }, "stream"],
    [{ stream: "true", response_format: "srt" }, "response_format"],
    [{ "include[]": "tokens" }, "include[]"],
    [{ "include[]": "logprobs", response_format: "text" }, "include[]"],
    [{ chunking_strategy: "none" }, "chunking_strategy"],
    [{ chunking_strategy: "[]" }, "chunking_strategy"],
    [{ chunking_strategy: "{" }, "chunking_strategy"],
    [{ chunking_strategy: '{"type":"vad"}' }, "chunking_strategy.type"],
    [{ chunking_strategy: '{"type":"server_vad","threshold":2}' }, "chunking_strategy.threshold"],
    [
      { chunking_strategy: '{"type":"server_vad","silence_duration_ms":-1}' },
      "chunking_strategy.silence_duration_ms",
    ],
    [
      { chunking_strategy: '{"type":"server_vad","prefix_padding_ms":"x"}' },
      "chunking_strategy.prefix_padding_ms",
    ],
    [{ "keywords[]": new Array<string>(1001).fill("w") }, "keywords[]"],
    [{ prompt: "x".repeat(70_000) }, "prompt"],
  ])("refused: %.60j", async (fields, param, status = 400) => {
    const answer = await post(address, fields);
    const { error } = (await answer.json()) as { error: Record<string, unknown> };
    expect({ status: answer.status, param: error.param, type: error.type }).toEqual({
      status,
      param,
      type: "invalid_request_error",
    });
    expect(error.message).not.toMatch(/\n|\.js:|\.ts:/);
    expect(engine.jobs).toEqual([]);
    expect(await metric(address, "funasr_uploads")).toBe(0);
  });

  test("no file, a text instead of one, two of them", async () => {
    const bodies = [
      form({ model: "demo" }),
      form({ model: "demo", file: "text" }),
      form({ model: "demo" }, audio()),
    ];
    bodies[2].append("file", audio());
    for (const body of bodies) {
      const answer = await fetch(`${address}/v1/audio/transcriptions`, { method: "POST", body });
      expect(answer.status).toBe(400);
      const got = bodies.indexOf(body);
      const message = expect.stringContaining(["got none", "got a text", "got several"][got]) as unknown;
      expect(await answer.json()).toMatchObject({ error: { param: "file", message } });
    }
    expect(await metric(address, "funasr_uploads")).toBe(0);
  });
});
