import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { demoModel } from "../../node/demo.js";
import type { Job } from "./engine.js";
import { EngineHost } from "./host.js";
import { loadModels } from "./load.js";
import type { Report } from "./messages.js";

// Plan: as many long recordings as are read at once, and a short one that comes later: it is answered
// before them, and their texts are what they are without it.
const folder = mkdtempSync(join(tmpdir(), "host-"));
afterAll(() => rmSync(folder, { recursive: true }));
const short = join(demoModel, "clips/en-seen-2.wav");
const long = join(folder, "long.wav");
const vad = join(demoModel, "../vad");

/** The clips one after the other, as 16-bit WAV. */
function joinWavs(names: readonly string[], times: number): Uint8Array {
  const parts = names.map((name) => readFileSync(join(demoModel, "clips", name)));
  const pause = Buffer.alloc(48_000);
  const data = Buffer.concat(
    Array.from({ length: times }, () => parts.flatMap((part) => [part.subarray(44), pause])).flat(),
  );
  const head = Buffer.from(parts[0].subarray(0, 44));
  head.writeUInt32LE(36 + data.length, 4);
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}

test("a short recording is answered before the long ones that came first", async () => {
  writeFileSync(long, joinWavs(["en-seen-1.wav", "en-unseen-1.wav"], 7));
  const settings = { model: demoModel, vad, jobs: 2 };
  const loaded = await loadModels(settings);
  const texts = new Map<number, string>();
  let ended = (): void => undefined;
  const send = (report: Report): void => {
    if (report.type === "failed") throw new Error(report.failure.message);
    if (report.type === "done") texts.set(report.id, report.result.text);
    ended();
  };
  const host = new EngineHost(loaded, settings.jobs, send);
  const job: Job = { file: long, name: "a", task: "transcribe", words: false, cut: {}, maxSeconds: 600 };
  const run = async (jobs: Readonly<Record<number, Job>>): Promise<void> => {
    for (const [id, job] of Object.entries(jobs))
      host.take({ type: "run", id: Number(id), job, deltas: false });
    const all = (): boolean => Object.keys(jobs).every((id) => texts.has(Number(id)));
    await new Promise<void>((resolve) => (ended = () => all() && resolve()));
  };
  await run({ 1: job });
  await run({ 2: job, 3: { ...job, name: "b" }, 4: { ...job, file: short, name: "c" } });
  expect([...texts.keys()].slice(0, 2)).toEqual([1, 4]);
  expect(texts.get(4)).toBe("remind me to take out the trash in ten minutes");
  expect(texts.get(1)).toContain("set the oven to eighty two degrees is the lamp in the living room on");
  expect([texts.get(2), texts.get(3)]).toEqual([texts.get(1), texts.get(1)]);
  const { gpu, engine } = loaded;
  await engine.close();
  expect(gpu.bytes.live).toBe(0);
  gpu.destroy();
});
