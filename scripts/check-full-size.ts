// Runs check:real with a checkpoint of full size from a hub on loopback, by hand: npm run
// check:full-size -- DIR [--out FILE]. DIR is a transformers directory, such as golden/fullsize/prove.py
// makes. The expected words are the engine's for DIR itself. check:real then downloads the model
// (the first answer breaks off in the middle), checks its SHA-256, and must give the same words;
// then once more offline.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Transcriber } from "../src/decode/transcriber.js";
import { decodeAudio } from "../src/frontend/decode.js";
import { openDevice } from "../src/node/device.js";
import { modelDirectory } from "../src/node/files.js";
import { HubServer } from "../test/helpers/hub-server.js";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" } } });
const [directory] = positionals;
if (!directory) throw new Error("check-full-size: expected a checkpoint directory");
const root = fileURLToPath(new URL("..", import.meta.url));
const clip = "speech.mp3";
const audio = join(root, "test/fixtures/audio", clip);

const since = (start: number): number => Math.round((performance.now() - start) / 100) / 10;

/** The engine's words for the clip, from the files in their place. */
async function expectedText(): Promise<{ text: string; seconds: number; adapter: string }> {
  const start = performance.now();
  const { gpu, adapter } = await openDevice();
  try {
    const transcriber = await Transcriber.load(gpu, modelDirectory(directory));
    const prepared = transcriber.prepare(await decodeAudio(await readFile(audio), clip), clip);
    const [{ text }] = await transcriber.transcribe([prepared]);
    return { text, seconds: since(start), adapter: adapter.description };
  } finally {
    gpu.destroy();
  }
}

function checkReal(
  text: string,
  env: Record<string, string>,
): Promise<{ code: number; out: string; err: string; seconds: number }> {
  const start = performance.now();
  const options = ["--model", "full/size", "--clips", "full/clips", "--clip", `example/${clip}=${text}`];
  const args = ["--import", "tsx", join(root, "scripts/check-real.ts"), ...options];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env: { ...process.env, HF_TOKEN: "", ...env } }, (error, out, err) =>
      resolve({
        code: typeof error?.code === "number" ? error.code : error ? -1 : 0,
        out,
        err,
        seconds: since(start),
      }),
    );
  });
}

const expected = await expectedText();
const server = new HubServer();
const home = mkdtempSync(join(tmpdir(), "funasr-full-"));
try {
  await server.start();
  const names = readdirSync(directory).filter((name) => statSync(join(directory, name)).isFile());
  const files = new Map(names.map((name) => [name, new Uint8Array(readFileSync(join(directory, name)))]));
  server.repos.set("full/size", { files, refs: { main: "a".repeat(40) } });
  const clips = new Map([[`example/${clip}`, new Uint8Array(readFileSync(audio))]]);
  server.repos.set("full/clips", { files: clips, refs: { main: "b".repeat(40) } });
  const [largest] = [...files].sort(([, a], [, b]) => b.length - a.length);
  server.faults.set(largest[0], { cutAfter: largest[1].length >> 1, times: 1 });
  const env = { HF_ENDPOINT: server.endpoint, HF_HOME: home };
  const online = await checkReal(expected.text, env);
  const downloads = server.downloads(largest[0]).map(({ range }) => range ?? "whole");
  server.asked.length = 0;
  const offline = await checkReal(expected.text, { ...env, HF_HUB_OFFLINE: "1" });
  const ok = online.code === 0 && offline.code === 0 && server.asked.length === 0 && downloads.length > 1;
  const result = {
    command: `npm run check:full-size -- ${basename(directory)}`,
    ok,
    adapter: expected.adapter,
    node: process.version,
    bytes: [...files.values()].reduce((sum, { length }) => sum + length, 0),
    downloads: { file: largest[0], ranges: downloads },
    seconds: { engine: expected.seconds, online: online.seconds, offline: offline.seconds },
    text: expected.text,
    said: { online: online.out.trim().split("\n").at(-1), offline: offline.out.trim().split("\n").at(-1) },
    requestsOffline: server.asked.length,
  };
  console.log(JSON.stringify(result, null, 2));
  if (!ok) console.error(online.err, offline.err);
  if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
  process.exitCode = ok ? 0 : 1;
} finally {
  await server.stop();
  rmSync(home, { recursive: true });
}
