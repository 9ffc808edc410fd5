import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Transcriber } from "../src/decode/transcriber.js";
import { decodeAudio } from "../src/frontend/decode.js";
import { useGpu } from "./gpu.js";
import { HubServer } from "./helpers/hub-server.js";
import { tinyFiles, tinyModel } from "./helpers/tiny-model.js";

// npm run check:real with a tiny checkpoint from a hub on loopback: downloads, transcribes, and
// says whether the words are right.

const gpu = useGpu();
const server = new HubServer();
const home = mkdtempSync(join(tmpdir(), "funasr-check-"));
const clips = ["speech.mp3", "speech.flac"];
const script = fileURLToPath(new URL("../scripts/check-real.ts", import.meta.url));

beforeAll(async () => {
  await server.start();
  const audio = clips.map((file): [string, Uint8Array] => [`example/${file}`, fixture(file)]);
  server.repos.set("owner/tiny-hf", { files: await tinyFiles(), refs: { main: "a".repeat(40) } });
  server.repos.set("owner/tiny", { files: new Map(audio), refs: { main: "b".repeat(40) } });
});
afterAll(async () => {
  await server.stop();
  rmSync(home, { recursive: true });
});

function fixture(file: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`fixtures/audio/${file}`, import.meta.url)));
}

function run(
  expected: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const options = clips.flatMap((file, i) => ["--clip", `example/${file}=${expected[i]}`]);
  const args = ["--import", "tsx", script, "--model", "owner/tiny-hf", "--clips", "owner/tiny", ...options];
  return new Promise((resolve) => {
    const all = { ...process.env, HF_ENDPOINT: server.endpoint, HF_HOME: home, HF_TOKEN: "", ...env };
    execFile(process.execPath, args, { env: all }, (error, out, err) =>
      resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, out, err }),
    );
  });
}

test("the transcripts of this engine pass, others fail, and a second run needs no network", async () => {
  const transcriber = await Transcriber.load(gpu(), await tinyModel());
  const expected: string[] = [];
  for (const file of clips) {
    const clip = transcriber.prepare(await decodeAudio(fixture(file), file), file);
    expected.push((await transcriber.transcribe([clip]))[0].text);
  }
  expect(expected.every((text) => text !== "")).toBe(true);

  const first = await run(expected);
  expect(first.err).toContain("downloading owner/tiny-hf: 5 files");
  expect(first.out).toMatch(/2 of 2 clips to the letter\n$/);
  expect(first.code).toBe(0);

  server.asked.length = 0;
  const second = await run([expected[0], "other words"], { HF_HUB_OFFLINE: "1" });
  expect(second.out).toContain("(published: other words)");
  expect(second.out).toMatch(/1 of 2 clips to the letter\n$/);
  expect(second.code).toBe(1);
  expect(server.asked).toEqual([]);
});

test("a hub that cannot be reached is one line and exit code 1", async () => {
  const { code, out, err } = await run(["", ""], {
    HF_ENDPOINT: "http://127.0.0.1:1",
    HF_HOME: join(home, "empty"),
  });
  expect(code).toBe(1);
  expect(out).toBe("");
  expect(err).toMatch(/^error: owner\/tiny: 127\.0\.0\.1:1 cannot be reached \(.*\); .*\n$/);
});
