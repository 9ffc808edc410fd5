import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { decodeClip } from "../src/node/clip.js";
import { demoModel } from "../src/node/demo.js";
import { type Serving, serve } from "./helpers/serve.js";

// Plan: the engine's process of the built `serve` is killed while sessions of every protocol are
// open. Each ends with an error that says so; a session that is opened when the engine is ready
// again has its text.

const text = "set the oven to eighty two degrees";
let serving: Serving;
let pcm: Buffer; // 16 kHz
beforeAll(async () => {
  serving = await serve();
  const clip = join(demoModel, "clips", "en-seen-1.wav");
  const { channels } = await decodeClip(clip, { keep: { rate: 16_000 } });
  pcm = Buffer.from(Int16Array.from(channels[0], (value) => Math.round(32_767 * value)).buffer);
});
afterAll(() => serving.end());

const realtime = {
  type: "session.update",
  session: { audio: { input: { format: { type: "audio/pcm", rate: 16_000 } } } },
};
const append = (): string =>
  JSON.stringify({ type: "input_audio_buffer.append", audio: pcm.toString("base64") });

interface Client {
  readonly heard: () => string;
  readonly send: (message: string | Buffer) => void;
  readonly closed: Promise<number>;
}

async function talk(path: string): Promise<Client> {
  const socket = new WebSocket(serving.address.replace("http", "ws") + path);
  onTestFinished(() => socket.terminate());
  let heard = "";
  socket.on("message", (data: Buffer) => (heard += `${data.toString()}\n`));
  const closed = new Promise<number>((resolve) => socket.once("close", resolve));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return { heard: () => heard, send: (message) => socket.send(message), closed };
}

const says = (client: Client, pattern: RegExp): Promise<void> =>
  expect.poll(client.heard, { timeout: 120_000 }).toMatch(pattern);

test("a killed engine ends open sessions with an error, and later ones are served", async () => {
  const protocols: readonly (readonly [
    path: string,
    messages: readonly (() => string | Buffer)[],
    RegExp,
  ])[] = [
    ["/", [() => "START", () => pcm], /"partial":"[^"]/],
    ["/v1/realtime?intent=transcription", [() => JSON.stringify(realtime), append], /speech_started/],
    ["/", [() => '{"mode":"2pass","audio_fs":16000}', () => pcm], /^/],
  ];
  const clients: Client[] = [];
  for (const [path, messages, open] of protocols) {
    const client = await talk(path);
    for (const message of messages) client.send(message());
    await says(client, open);
    clients.push(client);
  }
  const { pid } = serving.child;
  const [engine] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  process.kill(Number(engine), "SIGKILL");
  for (const client of clients) {
    expect(await client.closed).toBe(1011);
    const last = client.heard().trimEnd().split("\n").at(-1)!;
    expect(last).toMatch(/"error".*the engine failed; try again/);
  }
  await expect
    .poll(async () => (await fetch(`${serving.address}/health`)).status, { timeout: 120_000 })
    .toBe(200);
  const next = await talk("/");
  next.send("START");
  next.send(pcm);
  next.send("STOP");
  await says(next, /"stopped"/);
  expect(next.heard()).toContain(text);
});
