import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, rmdirSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import WebSocket from "ws";
import { enginePid, idle, resident, sleep } from "../bench/serving/process.js";
import { demoModel } from "../src/node/demo.js";
import { form, serve } from "../test/helpers/serve.js";
import { flac, m4a, mp3, opus, wavHead, webm } from "./audio-bombs.js";
import { fuzzBodies, fuzzMessages } from "../test/helpers/serve-fuzz.js";

// usage: npm run check:serve   (Linux)
// Faults against a real `serve` with the demo model, while another client goes on to send a clip,
// whose text must stay right. After each kind of fault, when nothing runs: no upload on the disk, no
// request, row or session open, and the bytes on the GPU and the engine's process as before. Prints
// a row for each. Exit code 1 if one is broken. ONLY=WORD keeps the rows with it in their name.

const text = "set the oven to eighty two degrees";
const clip = readFileSync(join(demoModel, "clips", "en-seen-1.wav"));
const megabytes = 100;
const serving = await serve(["--max-seconds", "120"]);
const { address } = serving;
const url = `${address}/v1/audio/transcriptions`;
const socketUrl = address.replace("http", "ws");

const upload = (bytes: Uint8Array<ArrayBuffer>, name: string, fields = {}): FormData =>
  form({ model: "demo", ...fields }, new File([bytes], name));
const post = (
  body: RequestInit["body"],
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<Response> => fetch(url, { method: "POST", body, headers, signal: signal ?? null });

async function expectText(answer: Promise<Response>): Promise<void> {
  const response = await answer;
  const got = await response.text();
  if (response.status !== 200 || (JSON.parse(got) as { text: string }).text !== text)
    throw new Error(`expected the clip's text, got ${response.status} ${got.slice(0, 200)}`);
}

/** Expects a refusal, and gives its status. */
async function refused(answer: Promise<Response>, ...statuses: number[]): Promise<number> {
  const response = await answer;
  const body = await response.text();
  if (!statuses.includes(response.status) || !body.includes('"error"'))
    throw new Error(`expected ${statuses.join(" or ")}, got ${response.status} ${body.slice(0, 200)}`);
  return response.status;
}

/** Random bytes that are the same in each run. */
function noise(count: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(count / 4);
  let state = 1;
  for (let i = 0; i < words.length; i++)
    words[i] = state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return new Uint8Array(words.buffer);
}

/** Clients that leave. @param begin  starts one; it is left when the promise resolves */
async function leave(count: number, begin: (signal: AbortSignal) => Promise<unknown>): Promise<string> {
  for (let i = 0; i < count; i++) {
    const gone = new AbortController();
    const done = begin(gone.signal).catch(() => undefined);
    await sleep(20 * (i % 10));
    gone.abort();
    await done;
  }
  return `${count} clients`;
}

/** A body whose end never comes. */
function endless(): ReadableStream<Uint8Array> {
  const head = "--x\r\ncontent-disposition: form-data; name=file; filename=a.wav\r\n\r\n";
  return new ReadableStream({
    start: (stream) => stream.enqueue(Buffer.concat([Buffer.from(head), clip.subarray(0, 50_000)])),
  });
}

async function halfStream(signal: AbortSignal): Promise<void> {
  const response = await post(upload(clip, "a.wav", { stream: "true" }), {}, signal);
  const reader = response.body!.getReader();
  while (!(await reader.read()).done);
}

async function garbage(): Promise<string> {
  const bytes = noise(megabytes * 2 ** 20);
  const statuses = new Map<string, number>();
  for (const kind of ["wav", "flac", "mp3", "ogg", "m4a", "webm", "aac", "bin"])
    statuses.set(kind, await refused(post(upload(bytes, `a.${kind}`)), 415, 422));
  const types = ["application/json", "text/plain", "audio/wav", "application/x-www-form-urlencoded"];
  for (const type of [...types, "multipart/form-data", "multipart/form-data; boundary=x", "no type"])
    statuses.set(type, await refused(post(bytes, { "content-type": type }), 400, 413, 415));
  return [...statuses].map(([kind, status]) => `${kind} ${status}`).join(", ");
}

async function bombs(): Promise<string> {
  const hour = 3600;
  const files: Readonly<Record<string, () => Uint8Array>> = {
    "10h.flac": () => flac(10 * hour, 2),
    "day.opus": () => opus(24 * hour),
    "3h.mp3": () => mp3(3 * hour),
    "3h-says-100s.m4a": () => m4a(3 * hour, { claimed: 100 }),
    "day.webm": () => webm(24 * hour),
    "3h.wav": () => Buffer.concat([wavHead(3 * hour * 32_000), Buffer.alloc(3 * hour * 32_000)]),
  };
  const statuses: string[] = [];
  for (const [name, bytes] of Object.entries(files))
    statuses.push(`${name} ${await refused(post(upload(new Uint8Array(bytes()), name)), 413)}`);
  const response = await post(upload(saysLess(), "2h-8-channels-says-100s.flac"));
  if (response.status !== 200) throw new Error(`expected the 100 s, got ${response.status}`);
  return [...statuses, "2h-8-channels-says-100s.flac 200 (100 s are read)"].join(", ");
}

/** A FLAC of two hours whose header says 100 s: so much of it is read. */
function saysLess(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(flac(2 * 3600, 8, 100));
}

/** A limit on the size of files stands for a disk that is full: it lets the other client's clip pass. */
async function fullDisk(): Promise<string> {
  const limit = (bytes: string): void =>
    void execFileSync("prlimit", ["--pid", `${serving.child.pid}`, `--fsize=${bytes}:unlimited`]);
  limit("150000");
  try {
    const bytes = new Uint8Array(3_000_000);
    for (let i = 0; i < 10; i++) await refused(post(upload(bytes, "a.wav")), 503);
  } finally {
    limit("unlimited");
  }
  return "10 uploads: 503";
}

/** A server of its own whose uploads go to a file system of 2 MB, which is filled up (as root). */
async function fullFileSystem(): Promise<string> {
  if (process.getuid?.() !== 0) return "left out: it needs root";
  const directory = mkdtempSync(join(tmpdir(), "funasr-webgpu-small-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", directory]);
  const other = await serve([], { TMPDIR: directory });
  const send = (bytes: Uint8Array<ArrayBuffer>): Promise<Response> =>
    fetch(`${other.address}/v1/audio/transcriptions`, { method: "POST", body: upload(bytes, "a.wav") });
  try {
    await refused(send(new Uint8Array(3_000_000)), 503);
    execFileSync("fallocate", ["-l", String(statfsSync(directory).bavail * 4096), join(directory, "filler")]);
    await refused(send(clip), 503);
    rmSync(join(directory, "filler"));
    await expectText(send(clip));
    return "larger than it, and full: 503; with room again: the text";
  } finally {
    await other.end();
    execFileSync("umount", [directory]);
    rmdirSync(directory);
  }
}

async function killed(): Promise<string> {
  for (let i = 0; i < 3; i++) {
    const answers = Array.from({ length: 4 }, () => expectText(post(upload(clip, "a.wav"))));
    await sleep(100 * (i + 1));
    process.kill(enginePid(serving), "SIGKILL");
    await Promise.all(answers);
  }
  return "3 times, 12 requests in flight: all answered";
}

async function leavingSockets(): Promise<string> {
  for (let i = 0; i < 20; i++) {
    const socket = new WebSocket(i % 2 === 0 ? socketUrl : `${socketUrl}/v1/realtime?intent=transcription`);
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    socket.send('{"mode":"2pass","is_speaking":true}');
    socket.send(Buffer.alloc(64_000));
    await sleep(10 * i);
    socket.terminate();
  }
  return "20 sessions";
}

const multipart = { "content-type": "multipart/form-data; boundary=x" };
const half = { duplex: "half" } as const;
const faults: Readonly<Record<string, () => Promise<string>>> = {
  "clients that leave in the upload": () =>
    leave(30, (signal) =>
      fetch(url, { method: "POST", body: endless(), headers: multipart, signal, ...half }),
    ),
  "clients that leave before the answer": () =>
    leave(30, (signal) => post(upload(clip, "a.wav"), {}, signal)),
  "clients that leave in the stream": () => leave(30, halfStream),
  "clients that leave a WebSocket": leavingSockets,
  [`${megabytes} MB of noise as each type`]: garbage,
  "small files that last long": bombs,
  "a full disk": fullDisk,
  "a full file system": fullFileSystem,
  "10,000 damaged forms": () => fuzzBodies(url, 10_000),
  "10,000 damaged WebSocket messages": () => fuzzMessages(socketUrl, 10_000),
  "kill -9 of the engine's process": killed,
};

/** A client that goes on. */
const bystander = { running: true, mayFail: false, right: 0, wrong: 0, newest: "" };
async function goOn(): Promise<void> {
  while (bystander.running) {
    try {
      await expectText(post(upload(clip, "a.wav")));
      bystander.right++;
    } catch (error) {
      if (bystander.mayFail && String(error).includes("engine_unavailable")) continue; // killed twice
      bystander.wrong++;
      bystander.newest = String(error);
    }
    await sleep(50);
  }
}

/** What must be as it was. */
async function state(): Promise<{
  gpu: number;
  uploads: number;
  sessions: number;
  engine: number;
  rss: number;
}> {
  const now = await idle(address);
  return {
    gpu: now.get("gpu_bytes")!,
    uploads: now.get("uploads")!,
    sessions: now.get("sessions")!,
    engine: enginePid(serving),
    rss: (resident(serving.child.pid!) + resident(enginePid(serving))) / 2 ** 20,
  };
}

let broken = 0;
async function check(name: string, fault: () => Promise<string>): Promise<void> {
  const before = await state();
  const mayFail = name.startsWith("kill");
  Object.assign(bystander, { running: true, mayFail, right: 0, wrong: 0, newest: "" });
  const others = goOn();
  const begun = performance.now();
  let detail: string;
  const wrongs: string[] = [];
  try {
    detail = await fault();
  } catch (error) {
    detail = String(error);
    wrongs.push("fault");
  }
  bystander.running = false;
  await others;
  const seconds = (performance.now() - begun) / 1000;
  const after = await state();
  const { right, wrong, newest } = bystander;
  if (wrong > 0) wrongs.push(`${wrong} wrong answers: ${newest}`);
  if (after.uploads > 0 || after.sessions > 0)
    wrongs.push(`${after.uploads} uploads, ${after.sessions} sessions left`);
  if (after.gpu > 1.25 * before.gpu) wrongs.push("GPU bytes");
  if (after.engine !== before.engine && !mayFail) wrongs.push("another engine's process");
  if (serving.child.exitCode !== null) wrongs.push("the server ended");
  if (wrongs.length > 0) broken++;
  const memory = `${(before.gpu / 2 ** 20).toFixed(1)} → ${(after.gpu / 2 ** 20).toFixed(1)} | ${before.rss.toFixed(0)} → ${after.rss.toFixed(0)}`;
  const mark = wrongs.length > 0 ? `BROKEN (${wrongs.join("; ")}) ` : "";
  console.log(`| ${name} | ${seconds.toFixed(1)} | ${right} | ${memory} | ${mark}${detail} |`);
}

console.log("| fault | seconds | right answers to another client | GPU MB | resident MB | result |");
console.log("| --- | --- | --- | --- | --- | --- |");
try {
  await expectText(post(upload(clip, "a.wav")));
  await post(upload(saysLess(), "long.flac")); // buffers of long recordings are there from now on
  const only = process.env.ONLY ?? "";
  for (const [name, fault] of Object.entries(faults)) if (name.includes(only)) await check(name, fault);
} finally {
  const code = await serving.end();
  if (code !== 0) broken++;
  console.log(`SIGTERM: exit code ${code}; ${broken} broken`);
}
process.exitCode = broken > 0 ? 1 : 0;
