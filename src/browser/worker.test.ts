// Plan: the worker's side runs in this process on Node's device, behind a port as a page has it; files come
// from a server on loopback. Every call of SpeechWorker gives what the library gives; refusals pass whole.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Asked, StaticServer } from "../../scripts/browser/serve.js";
import { useGpu } from "../../test/gpu.js";
import { bundlePath } from "../../test/helpers/bundles.js";
import { transcribeRecording } from "../decode/segments/transcribe-recording.js";
import { Transcriber } from "../decode/transcriber.js";
import { VoiceActivityDetector } from "../decode/vad/detector.js";
import { decodeAudio } from "../frontend/decode.js";
import { wavBytes } from "../frontend/write-wav.js";
import { webgpu } from "../node/device.js";
import { demoModel, vadModel } from "../node/demo.js";
import { modelDirectory } from "../node/files.js";
import { BrowserError, EngineFailure, SpeechWorker, type SpeechWorkerOptions } from "./client.js";
import { serveEngine } from "./host.js";
import type { MessageEnd, PageWorker, Platform, PortEvent } from "./platform.js";

const gpu = useGpu();
let server: StaticServer;
let asked: Asked[];
let base = "";
const started: SpeechWorker[] = [];

beforeAll(async () => {
  server = new StaticServer({ demo: demoModel, vad: vadModel });
  base = `http://127.0.0.1:${await server.listen()}`;
  asked = server.asked;
});
afterAll(() => server.close());
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

// Plan: a recording above a minute and a clip with `cut` have the library's segments and silences, as a file
// and as samples.
describe("audio that is cut", () => {
  const second = 16_000;
  const rest = 15 * second;
  /** Four clips with silences between. */
  const recorded = async (): Promise<Float32Array<ArrayBuffer>> => {
    const joined = new Float32Array(75 * second);
    let at = second;
    for (const name of ["en-seen-2.wav", "zh-seen-2.wav", "en-seen-1.wav", "zh-seen-1.wav"]) {
      const { channels } = await decodeAudio(clip(name), name, { keep: { rate: second } });
      joined.set(channels[0], at);
      at += channels[0].length + rest;
    }
    return joined;
  };
  const wav = (samples: Float32Array): File => new File([wavBytes(samples, second)], "long.wav");

  it("has the library's text", async () => {
    const samples = await recorded();
    const short = samples.slice(0, 5 * second);
    const speech = await start(demo());
    const library = await Transcriber.load(gpu(), modelDirectory(demoModel), { wordTimes: "optional" });
    const detector = await VoiceActivityDetector.load(gpu(), modelDirectory(vadModel));
    for (const [audio, all, request] of [
      [samples, samples, {}],
      [wav(samples), samples, {}],
      [wav(samples), samples, { cut: true, maxEndSilenceMs: 400 }],
      [short, short, { cut: true }],
      [wav(short), short, { cut: true }],
    ] as const) {
      const want = await transcribeRecording(library, detector, [all], { ...request, wordTimes: true });
      const events: unknown[] = [];
      const got = await speech.transcribe(audio, request, (event) => {
        if (event.type === "segment") events.push(event.segment);
      });
      expect(got).toMatchObject({ ...want, warnings: [] });
      expect(got.segments.length).toBe(all === samples ? 4 : 1);
      expect(events).toEqual(got.segments);
    }
    detector.free();
    library.free();
    expect((await speech.memory()).live).toBe(0);
  });
});

// Plan: the device is lost while a clip is decoded: it is opened again, and the clip's text is the same. A call
// that is aborted or meets the end of the worker rejects, and leaves nothing on the device.
describe("a worker whose device is lost", () => {
  it("transcribes the clip again", async () => {
    const lost: string[] = [];
    const speech = await start({ model: demo().model, onLost: (reason) => lost.push(reason) });
    const events: string[] = [];
    let destroyed = false;
    const { text } = await speech.transcribe(clip("en-seen-2.wav"), { language: "en" }, (event) => {
      events.push(event.type);
      if (event.type !== "partial" || destroyed) return;
      destroyed = true;
      void speech.loseDevice();
    });
    expect(text).toBe("remind me to take out the trash in ten minutes");
    expect(events.filter((type) => type === "repeated")).toHaveLength(1);
    expect(events.filter((type) => type === "segment")).toHaveLength(1);
    expect(lost).toHaveLength(1);
    const abort = new AbortController();
    const aborted = speech.transcribe(clip("en-seen-2.wav"), { signal: abort.signal }, () => abort.abort());
    await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
    await speech.transcribe(clip("en-seen-1.wav"), { language: "en" });
    expect((await speech.memory()).live).toBe(0);
    const running = speech.transcribe(clip("en-seen-2.wav"), {}, () => void speech.close());
    await expect(running).rejects.toMatchObject({ name: "BrowserError", code: "worker" });
    await expect(speech.memory()).rejects.toMatchObject({ name: "BrowserError", code: "worker" });
  });
});

describe("live speech", () => {
  it("has its words as they come, and its final text", async () => {
    const speech = await start(demo());
    const audio = await decodeAudio(clip("en-seen-2.wav"), "clip", { keep: { rate: 16_000 } });
    const samples = new Float32Array(audio.channels[0].length + 48_000);
    samples.set(audio.channels[0], 8000);
    const finals: string[] = [];
    const stable: string[] = [];
    const session = speech.live({ language: "en" }, (event) => {
      if (event.type === "final") finals.push(event.segment.text);
      if (event.type === "partial") stable.push(event.stable);
    });
    for (let at = 0; at < samples.length; at += 4000) session.push(samples.slice(at, at + 4000));
    await session.finish();
    expect(finals).toEqual(["remind me to take out the trash in ten minutes"]);
    for (const text of stable) expect(finals[0].startsWith(text)).toBe(true);
  });

  it("needs a voice activity net", async () => {
    const speech = await start({ model: demo().model });
    const { ended } = speech.live({}, () => undefined);
    await expect(ended).rejects.toThrow("live: expected a voice activity net, got none at the start");
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

describe("bench", () => {
  it("measures products; decoding needs a model", async () => {
    const speech = await start();
    const seen: string[] = [];
    const rows = await speech.bench(["gemv"], ({ name }) => seen.push(name));
    expect(rows.map(({ name, unit }) => `${name} ${unit}`)).toEqual(
      ["f32", "bf16", "q8"].map((format) => `1024 × 16384 ${format} GB/s`),
    );
    expect(seen).toEqual(rows.map(({ name }) => name));
    for (const { value } of rows)
      expect(value.min > 0 && value.min <= value.median && value.median <= value.max).toBe(true);
    await expect(speech.bench(["decode"])).rejects.toThrow("bench decode: expected a model");
  });
});

/** A WebGPU whose adapters have smaller buffers. */
function smaller(bytes: number): GPU {
  const requestAdapter = async (options: GPURequestAdapterOptions): Promise<GPUAdapter | null> => {
    const adapter = await webgpu().requestAdapter(options);
    const limits = { maxBufferSize: bytes, maxStorageBufferBindingSize: bytes };
    return adapter && ({ features: adapter.features, info: adapter.info, limits } as unknown as GPUAdapter);
  };
  return { requestAdapter } as GPU;
}

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

  it("limits that are too small for the checkpoint, before its weights are fetched", async () => {
    asked.length = 0;
    const refused = start(demo(), { gpu: smaller(1000) });
    await expect(refused).rejects.toMatchObject({ name: "BrowserError", code: "limits" });
    await expect(refused).rejects.toThrow(
      /^demo: this graphics adapter's buffers are too small for the model: .* 1000/,
    );
    expect(asked.filter(({ path, range }) => path.endsWith(".safetensors") && range === undefined)).toEqual(
      [],
    );
    expect(asked.length).toBeGreaterThan(3);
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
