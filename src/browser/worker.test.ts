// Plan: the worker's side runs in this process on Node's device, behind a port as a page has it; files come
// from a server on loopback. Every call of SpeechWorker gives what the library gives; refusals pass whole.
import { readFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { listModel } from "../../scripts/list-model.js";
import { useGpu } from "../../test/gpu.js";
import { bundlePath } from "../../test/helpers/bundles.js";
import { Transcriber } from "../decode/transcriber.js";
import { decodeAudio } from "../frontend/decode.js";
import { webgpu } from "../node/device.js";
import { demoModel, vadModel } from "../node/demo.js";
import { modelDirectory } from "../node/files.js";
import { BrowserError, EngineFailure, SpeechWorker, type SpeechWorkerOptions } from "./client.js";
import { serveEngine } from "./host.js";
import type { MessageEnd, PageWorker, Platform, PortEvent } from "./platform.js";

const gpu = useGpu();
const folders: Record<string, string> = { demo: demoModel, vad: vadModel };
let server: Server;
let base = "";
const started: SpeechWorker[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    const [folder, ...rest] = (request.url ?? "").slice(1).split("/");
    const file = rest.join("/");
    try {
      const directory = folders[folder];
      const bytes =
        file === "files.json"
          ? Buffer.from(JSON.stringify(listModel(directory)))
          : readFileSync(join(directory, file));
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());
afterEach(async () => {
  for (const speech of started.splice(0)) await speech.close();
});

/** Two ends of a worker in one process; messages are cloned as between threads. */
function workerPair(): { page: PageWorker; worker: MessageEnd } {
  const listeners = {
    page: new Set<(event: PortEvent) => void>(),
    worker: new Set<(event: PortEvent) => void>(),
  };
  const end = (own: "page" | "worker", other: "page" | "worker"): MessageEnd => ({
    postMessage(message, transfer) {
      const data: unknown = structuredClone(message, { transfer });
      const deliver = (): void => {
        for (const listener of listeners[other]) listener({ data, preventDefault: () => undefined });
      };
      queueMicrotask(deliver);
    },
    addEventListener(type, listener) {
      if (type === "message") listeners[own].add(listener);
    },
  });
  const page = { ...end("page", "worker"), terminate: () => listeners.page.clear() };
  return { page, worker: end("worker", "page") };
}

async function start(
  options: SpeechWorkerOptions = {},
  platform: Platform = { gpu: webgpu() },
): Promise<SpeechWorker> {
  const { page, worker } = workerPair();
  serveEngine(worker, platform);
  const speech = await SpeechWorker.start(page, options);
  started.push(speech);
  return speech;
}

const demo = (): SpeechWorkerOptions => ({ model: { url: `${base}/demo` }, vad: { url: `${base}/vad/` } });
const clip = (name: string): File => new File([readFileSync(join(demoModel, "clips", name))], name);

describe("a worker with the demo model", () => {
  it("has the facts, and the texts and times of the library", async () => {
    const stages = new Set<string>();
    const speech = await start({
      ...demo(),
      onProgress: ({ part, stage, done, total }) => {
        expect(done).toBeLessThanOrEqual(total);
        stages.add(`${part} ${stage}`);
      },
    });
    expect([...stages]).toEqual(["model download", "vad download", "model load", "model compile"]);
    expect(speech.facts).toMatchObject({
      hasVad: true,
      model: { name: "demo", languages: ["zh", "en", "ja"], canTranslate: false, hasWordTimes: true },
    });
    const library = await Transcriber.load(gpu(), modelDirectory(demoModel), { wordTimes: true });
    for (const [name, language] of [
      ["en-seen-2.wav", "en"],
      ["zh-unseen-2.m4a", "zh"],
    ]) {
      const file = clip(name);
      const audio = await decodeAudio(file, name, { keep: { rate: 16_000 } });
      const [want] = await library.transcribe([library.prepare(audio, name)], { language });
      const partials: string[] = [];
      const got = await speech.transcribe(file, { language }, (event) => {
        if (event.type === "partial") partials.push(event.tentative);
      });
      expect(got.text).toBe(want.text);
      expect(got.segments).toMatchObject([{ text: want.text, words: want.words }]);
      expect(partials.at(-1)?.trim()).toBe(want.text);
      expect(partials.length).toBeGreaterThan(3);
    }
    library.free();
    expect((await speech.memory()).live).toBe(0);
  });
});

describe("a worker without a model", () => {
  it("verifies bundles, in files and by address", async () => {
    const speech = await start();
    expect(speech.facts.model).toBeUndefined();
    const file = new File([readFileSync(bundlePath("frontend-3-frames"))], "frontend-3-frames.safetensors");
    const seen: string[] = [];
    const rows = await speech.verify([{ file }, { url: `${base}/demo/none` }], ({ bundle }) =>
      seen.push(bundle),
    );
    expect(rows[0]).toMatchObject({ kind: "frontend", failed: 0 });
    expect(rows[1]).toMatchObject({ failed: 1, problem: "none: the server answers with status 404" });
    expect(seen).toHaveLength(2);
  });

  it("says so when it is asked for text", async () => {
    const speech = await start();
    const asked = speech.transcribe(new Float32Array(16_000));
    await expect(asked).rejects.toThrow("transcribe: expected a model, got none at the start");
    await expect(asked).rejects.toBeInstanceOf(BrowserError);
  });
});

// Plan: what a browser lacks is refused by name before anything is fetched.
describe("refusals", () => {
  it.each([
    ["no-webgpu", {}, "this browser has no WebGPU; take Chrome or Edge 113 or newer"],
    ["no-webgpu", { userAgent: "Mozilla/5.0 Firefox/140.0" }, "take Firefox 141"],
    [
      "no-adapter",
      { gpu: { requestAdapter: () => Promise.resolve(null) } as unknown as GPU },
      "no graphics adapter",
    ],
  ] as const)("%s %#", async (code, platform, message) => {
    const refused = start(demo(), platform);
    await expect(refused).rejects.toMatchObject({ name: "BrowserError", code });
    await expect(refused).rejects.toThrow(message);
  });

  it("an error of the library keeps its name and its whole message", async () => {
    const speech = await start(demo());
    const file = new File(["no audio at all"], "notes.txt");
    const failed = speech.transcribe(file);
    await expect(failed).rejects.toBeInstanceOf(EngineFailure);
    await expect(failed).rejects.toMatchObject({ name: "AudioError" });
    await expect(failed).rejects.toThrow(/^notes\.txt: container: expected .*, got a file that begins with/);
  });
});
