import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { demoModel } from "../src/node/demo.js";
import { type Serving, demoClip, form, serve } from "./helpers/serve.js";

// Plan: the built command with the demo model in the real process, through clients that others
// wrote: every format, a stream, uploads together and live audio have the text of `transcribe`; no
// audio is refused; a killed engine and a lost device cost no answer; signals end it and leave nothing.

const losesDevice = new URL("./helpers/loses-device.js", import.meta.url).href;
const text = "set the oven to eighty two degrees";
let serving: Serving;
let openai: OpenAI;
beforeAll(async () => {
  serving = await serve();
  openai = new OpenAI({ baseURL: `${serving.address}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => serving.end());
const post = (fields: Record<string, string>, file = demoClip()): Promise<Response> =>
  fetch(`${serving.address}/v1/audio/transcriptions`, {
    method: "POST",
    body: form({ model: "demo", language: "en", ...fields }, file),
  });

test("json and a stream, through the openai client", async () => {
  const asked = { file: demoClip(), model: "demo", language: "en" };
  expect((await openai.audio.transcriptions.create(asked)).text).toBe(text);
  let deltas = "";
  for await (const event of await openai.audio.transcriptions.create({ ...asked, stream: true }))
    if (event.type === "transcript.text.delta") deltas += event.delta;
    else expect(event).toMatchObject({ type: "transcript.text.done", text });
  expect(deltas).toBe(text);
});

test.each(["text", "srt", "vtt", "verbose_json"])("%s", async (format) => {
  const answer = await post({ response_format: format });
  expect(answer.status).toBe(200);
  expect(await answer.text()).toContain(text);
});

test("uploads together have the texts that they have alone", async () => {
  const names = ["en-seen-1.wav", "en-seen-2.wav", "zh-seen-1.wav"];
  const textOf = async (name: string): Promise<unknown> =>
    ((await (await post({ language: "" }, demoClip(name))).json()) as { text: string }).text;
  const alone: unknown[] = [];
  for (const name of names) alone.push(await textOf(name));
  expect(await Promise.all([...names, ...names].map(textOf))).toEqual([...alone, ...alone]);
});

test.each([
  ["no audio", new File(["x".repeat(5000)], "a.wav"), 415],
  ["an empty file", new File([], "a.wav"), 415],
  ["half a clip", new File([demoClip().slice(0, 50)], "a.wav"), 422],
])("refused: %s", async (_, file, status) => {
  const answer = await post({}, file);
  expect(answer.status).toBe(status);
  const { error } = (await answer.json()) as { error: { message: string; param: string } };
  expect(error.param).toBe("file");
  expect(error.message).toMatch(/^a\.wav: /);
});

test("live audio, by FunASR's protocol", async () => {
  const wav = readFileSync(join(demoModel, "clips", "en-seen-1.wav"));
  const socket = new WebSocket(serving.address.replace("http", "ws"));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const last = new Promise<Record<string, unknown>>((resolve) =>
    socket.on("message", (data: Buffer) => {
      const message = JSON.parse(data.toString()) as Record<string, unknown>;
      if (message.is_final === true) resolve(message);
    }),
  );
  socket.send(JSON.stringify({ mode: "2pass", audio_fs: wav.readUInt32LE(24), svs_lang: "en" }));
  for (let at = 44; at < wav.length; at += 4000) socket.send(wav.subarray(at, at + 4000));
  socket.send(JSON.stringify({ is_speaking: false }));
  expect(await last).toMatchObject({ mode: "2pass-offline", text });
  socket.close();
});

/** The engine's process of a server. @source proc(5), task/children */
const engineOf = ({ child: { pid } }: Serving): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
const send = ({ address }: Serving): Promise<Response> =>
  fetch(`${address}/v1/audio/transcriptions`, {
    method: "POST",
    body: form({ model: "demo", language: "en" }, demoClip()),
  });

test("an engine that is killed, or whose device is lost, costs no answer; SIGTERM ends all with 0", async () => {
  const other = await serve([], { NODE_OPTIONS: `--import=${losesDevice}` });
  for (const signal of ["SIGKILL", "SIGUSR2"]) {
    const before = engineOf(other);
    const answers = [send(other), send(other), send(other)];
    process.kill(before, signal);
    for (const answer of await Promise.all(answers)) expect(await answer.json()).toMatchObject({ text });
    expect(engineOf(other)).not.toBe(before);
  }
  expect(other.notes()).toContain("device destroyed\n");
  const running = send(other);
  await expect
    .poll(async () => (await fetch(`${other.address}/metrics`)).text(), { timeout: 60_000 })
    .toMatch(/^funasr_requests_open 1$/m);
  const code = other.end();
  expect((await running).status).toBe(200);
  expect(await code).toBe(0);
  expect(readdirSync(tmpdir()).filter((name) => name.includes(`uploads.${other.child.pid}.`))).toEqual([]);
});

test("SIGINT finishes what runs and exits with 130; a second signal ends at once", async () => {
  const other = await serve();
  process.kill(engineOf(other), "SIGSTOP"); // what runs does not end
  const running = send(other).catch(() => undefined);
  await expect
    .poll(async () => (await fetch(`${other.address}/metrics`)).text(), { timeout: 60_000 })
    .toMatch(/^funasr_requests_open 1$/m);
  const engine = engineOf(other);
  const code = other.end("SIGINT");
  await expect
    .poll(() => other.notes(), { timeout: 60_000 })
    .toContain("a second signal ends the run at once");
  other.child.kill("SIGTERM");
  await once(other.child, "exit");
  process.kill(engine, "SIGKILL");
  expect(await code).toBe(143);
  await running;
  expect(readdirSync(tmpdir()).filter((name) => name.includes(`uploads.${other.child.pid}.`))).toEqual([]);
  const idle = await serve();
  expect(await idle.end("SIGINT")).toBe(130);
});
