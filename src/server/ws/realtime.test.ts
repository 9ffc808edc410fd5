import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { connect } from "node:net";
import { afterAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { fakeServer, said } from "../../../test/helpers/fake-engine.js";
import { EngineError } from "../engine/errors.js";

// Plan: the openai client's realtime class against the server, over an engine that says what it is
// told: sessions and their settings, speech that the server finds, commits, clears, failures, and
// events that are wrong, which leave the session open. The client insists on TLS: its connection is
// made without, all else is its own.

const { engine, server, address } = await fakeServer();
afterAll(() => server.stop());
beforeEach(() => {
  engine.lives.length = 0;
  engine.live = () => undefined;
});
const { hostname, port } = new URL(address);
const openai = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none" });
type Event = Record<string, unknown> & { readonly type: string };

async function open(headers: Record<string, string> = {}): Promise<{
  client: OpenAIRealtimeWS;
  heard: Event[];
  hears: (type: string, count?: number) => Promise<Event>;
}> {
  const plain = { createConnection: () => connect(Number(port), hostname) } as object;
  const client = new OpenAIRealtimeWS({ model: "demo", options: { ...plain, headers } }, openai);
  onTestFinished(() => client.close());
  const heard: Event[] = [];
  client.on("event", (event) => heard.push(event as unknown as Event));
  client.on("error", () => undefined);
  const hears = async (type: string, count = 1): Promise<Event> => {
    const found = (): Event[] => heard.filter((event) => event.type === type);
    await expect.poll(() => found().length, { timeout: 60_000 }).toBeGreaterThanOrEqual(count);
    return found()[count - 1];
  };
  await hears(headers["OpenAI-Beta"] ? "transcription_session.created" : "session.created");
  return { client, heard, hears };
}
const audio = (seconds: number, rate: number): string =>
  Buffer.alloc(2 * rate * seconds, 1).toString("base64");
const [first] = said.segments;
const update = (input: object): never =>
  ({ type: "session.update", session: { type: "transcription", audio: { input } } }) as never;

test("speech that the server finds", async () => {
  engine.live = ({ listener }, call) => {
    if (call !== "push") return;
    listener({ type: "started", start: 0.5 });
    listener({ type: "partial", start: 0.5, stable: "turn", tentative: "" });
    listener({ type: "partial", start: 0.5, stable: "turn on", tentative: "" });
    listener({ type: "stopped", start: 0.5, end: 2.5 });
    listener({ type: "final", segment: first });
  };
  const { client, heard, hears } = await open();
  client.send(
    update({
      format: { type: "audio/pcm", rate: 16_000 },
      transcription: { model: "demo", language: "en", prompt: "home" },
      turn_detection: { type: "server_vad", silence_duration_ms: 300 },
    }),
  );
  await hears("session.updated");
  client.send({ type: "input_audio_buffer.append", audio: audio(1, 16_000) });
  const done = await hears("conversation.item.input_audio_transcription.completed");
  expect(engine.lives[0]).toMatchObject({
    options: { language: "en", context: "home", maxEndSilenceMs: 300, endpoints: true },
    samples: 16_000,
  });
  const { item_id: id } = done;
  expect(heard.slice(2)).toMatchObject([
    { type: "input_audio_buffer.speech_started", audio_start_ms: 500, item_id: id },
    {
      type: "conversation.item.input_audio_transcription.delta",
      delta: "turn",
      item_id: id,
      content_index: 0,
    },
    { type: "conversation.item.input_audio_transcription.delta", delta: " on" },
    { type: "input_audio_buffer.speech_stopped", audio_end_ms: 2500, item_id: id },
    { type: "input_audio_buffer.committed", item_id: id, previous_item_id: null },
    { type: "conversation.item.added", item: { id, role: "user", content: [{ type: "input_audio" }] } },
    { type: "conversation.item.done" },
    { type: "conversation.item.input_audio_transcription.delta", delta: " the light" },
    {
      type: "conversation.item.input_audio_transcription.completed",
      transcript: first.text,
      usage: { type: "duration", seconds: 2 },
    },
  ]);
  expect(new Set(heard.map((event) => event.event_id)).size).toBe(heard.length);
  client.send({ type: "input_audio_buffer.append", audio: audio(1, 16_000) });
  expect(await hears("input_audio_buffer.committed", 2)).toMatchObject({ previous_item_id: id });
});

test("commits, at 24 kHz", async () => {
  engine.live = ({ listener }, call) => {
    if (call !== "commit") return;
    listener({ type: "final", segment: first });
    listener({ type: "final", segment: said.segments[1] });
    listener({ type: "committed", seconds: 1 });
  };
  const { client, hears } = await open();
  client.send(update({ turn_detection: null }));
  client.send({ type: "input_audio_buffer.append", audio: audio(1, 24_000) });
  client.send({ type: "input_audio_buffer.commit" });
  expect(await hears("conversation.item.input_audio_transcription.completed")).toMatchObject({
    transcript: said.text,
  });
  expect(engine.lives[0].options.endpoints).toBe(false);
  expect(Math.abs(engine.lives[0].samples - 16_000)).toBeLessThan(20);
  client.send({ type: "input_audio_buffer.commit" });
  expect(await hears("error")).toMatchObject({ error: { code: "input_audio_buffer_commit_empty" } });
  client.send({ type: "input_audio_buffer.append", audio: audio(1, 24_000) });
  client.send({ type: "input_audio_buffer.clear" });
  await hears("input_audio_buffer.cleared");
  expect(engine.lives[0].clears).toBe(1);
  client.send({ type: "input_audio_buffer.commit" });
  await hears("error", 2);
});

test("a commit without speech has an empty transcript", async () => {
  engine.live = ({ listener }, call) => call === "commit" && listener({ type: "committed", seconds: 1 });
  const { client, hears } = await open();
  client.send({ type: "input_audio_buffer.append", audio: audio(1, 24_000) });
  client.send({ type: "input_audio_buffer.commit" });
  expect(await hears("conversation.item.input_audio_transcription.completed")).toMatchObject({
    transcript: "",
  });
});

test("the beta's names", async () => {
  engine.live = ({ listener }, call) => {
    if (call !== "commit") return;
    listener({ type: "final", segment: first });
    listener({ type: "committed", seconds: 1 });
  };
  const { client, heard, hears } = await open({ "OpenAI-Beta": "realtime=v1" });
  client.send({
    type: "transcription_session.update",
    session: {
      input_audio_format: "pcm16",
      input_audio_transcription: { model: "whisper-1", language: "zh" },
      turn_detection: null,
    },
  } as never);
  expect(await hears("transcription_session.updated")).toMatchObject({
    session: { input_audio_transcription: { model: "whisper-1", language: "zh" }, turn_detection: null },
  });
  client.send({ type: "input_audio_buffer.append", audio: audio(1, 24_000) });
  client.send({ type: "input_audio_buffer.commit" });
  await hears("conversation.item.input_audio_transcription.completed");
  expect(heard.map(({ type }) => type)).toContain("conversation.item.created");
  expect(engine.lives[0].options).toMatchObject({ language: "zh", endpoints: false });
});

test("null is absent, but that of turn_detection", async () => {
  const { client, hears } = await open();
  const input = {
    format: null,
    noise_reduction: null,
    transcription: { model: null, language: null, prompt: null, keywords: null },
    turn_detection: {
      type: "server_vad",
      threshold: null,
      prefix_padding_ms: null,
      silence_duration_ms: null,
    },
  };
  client.send({
    type: "session.update",
    session: { type: null, include: null, input_audio_format: null, audio: { input } },
  } as never);
  expect(await hears("session.updated")).toMatchObject({
    session: { audio: { input: { format: { rate: 24_000 }, transcription: { model: "demo" } } } },
  });
  client.send({ type: "session.update", session: { audio: null } } as never);
  await hears("session.updated", 2);
});

test("an engine that fails", async () => {
  engine.live = ({ listener }, call) => {
    if (call === "push") listener({ type: "stopped", start: 0, end: 1 });
    else listener({ type: "failed", error: new EngineError({ kind: "unavailable", message: "gone" }) });
  };
  const { client, hears } = await open();
  client.send({ type: "input_audio_buffer.append", audio: audio(1, 24_000) });
  client.send({ type: "input_audio_buffer.commit" });
  const failed = await hears("conversation.item.input_audio_transcription.failed");
  expect(failed).toMatchObject({ error: { message: "gone", code: "engine_unavailable" } });
  expect(await hears("error")).toMatchObject({ error: { type: "server_error" } });
});

test.each<[object | string, string | null]>([
  ["{", "event"],
  ["[]", "event"],
  [{ type: "response.create", event_id: "mine" }, "type"],
  [{ type: "input_audio_buffer.append" }, "audio"],
  [{ type: "input_audio_buffer.append", audio: "not base64!" }, "audio"],
  [{ type: "session.update" }, "session"],
  [{ type: "session.update", session: { type: "realtime" } }, "session.type"],
  [{ type: "session.update", session: { audio: 3 } }, "session.audio"],
  [update({ format: { type: "audio/pcmu" } }), "session.audio.input.format"],
  [update({ format: { type: "audio/pcm", rate: 44_100 } }), "session.audio.input.format.rate"],
  [update({ transcription: { model: "other" } }), "session.audio.input.transcription.model"],
  [update({ transcription: { language: "xx" } }), "session.audio.input.transcription.language"],
  [update({ transcription: { prompt: 3 } }), "session.audio.input.transcription.prompt"],
  [
    update({ turn_detection: { type: "server_vad", threshold: 3 } }),
    "session.audio.input.turn_detection.threshold",
  ],
  [update({ turn_detection: "none" }), "session.audio.input.turn_detection"],
  ["3", "event"],
  ["null", "event"],
  ["{}", "type"],
  ['{"type":3}', "type"],
  [{ type: "input_audio_buffer.append", audio: 5 }, "audio"],
  [{ type: "input_audio_buffer.append", audio: "A" }, "audio"],
  [{ type: "input_audio_buffer.append", audio: "AAAA=" }, "audio"],
  [{ type: "input_audio_buffer.append", audio: "-_-_" }, "audio"],
  [{ type: "session.update", session: [] }, "session"],
  [{ type: "session.update", session: { audio: { input: 3 } } }, "session.audio.input"],
  [{ type: "session.update", session: { include: ["x"] } }, "session.include"],
  [{ type: "session.update", session: { input_audio_format: "g711_ulaw" } }, "session.input_audio_format"],
  [update({ format: "pcm16" }), "session.audio.input.format"],
  [update({ format: { type: "audio/pcm", rate: "24000" } }), "session.audio.input.format.rate"],
  [update({ format: { type: "audio/pcm", rate: 1e300 } }), "session.audio.input.format.rate"],
  [update({ transcription: [] }), "session.audio.input.transcription"],
  [update({ transcription: { model: 3 } }), "session.audio.input.transcription.model"],
  [update({ transcription: { keywords: "a" } }), "session.audio.input.transcription.keywords"],
  [update({ transcription: { keywords: [1] } }), "session.audio.input.transcription.keywords"],
  [
    update({ transcription: { keywords: new Array(1001).fill("w") } }),
    "session.audio.input.transcription.keywords",
  ],
  [update({ turn_detection: {} }), "session.audio.input.turn_detection.type"],
  [
    update({ turn_detection: { type: "server_vad", silence_duration_ms: 1e9 } }),
    "session.audio.input.turn_detection.silence_duration_ms",
  ],
])("refused, and the session lives: %.90j", async (event, param) => {
  const { client, hears } = await open();
  client.socket.send(typeof event === "string" ? event : JSON.stringify(event));
  const { error } = (await hears("error")) as unknown as { error: Record<string, unknown> };
  expect(error).toMatchObject({ param, event_id: (event as { event_id?: string }).event_id ?? null });
  client.send({ type: "input_audio_buffer.clear" });
  await hears("input_audio_buffer.cleared");
});
