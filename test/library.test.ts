// Plan: the library as a program without types calls it. Wrong arguments are named; an AbortSignal
// ends each long call with its reason and leaves the GPU's bytes as they were; a device that is
// lost at any moment is one GpuError.
import { readFileSync } from "node:fs";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { Generator } from "../src/decode/generator.js";
import { Transcriber } from "../src/decode/transcriber.js";
import { translate } from "../src/decode/translator.js";
import {
  ArgumentError,
  decodeAudio,
  Gpu,
  GpuError,
  openBundle,
  openCheckpoint,
  verifyBundle,
} from "../src/index.js";
import type { ModelFiles } from "../src/checkpoint/source.js";
import { openDevice } from "../src/node/device.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";

let files: ModelFiles;
let gpu: Gpu;
beforeAll(async () => {
  files = await tinyModel({ seed: 5 });
  ({ gpu } = await openDevice());
});

const wrong = (value: unknown): never => value as never;

async function errorOf(call: () => unknown): Promise<Error> {
  try {
    await call();
  } catch (error) {
    return error as Error;
  }
  throw new Error("the call gave no error");
}

describe("decodeAudio", () => {
  it("takes bytes, any view of them, their buffer and a Blob", async () => {
    const bytes = new Uint8Array(readFileSync(new URL("fixtures/audio/speech.flac", import.meta.url)));
    const { channels, sampleRate } = await decodeAudio(bytes, "a");
    const padded = new Uint8Array(bytes.length + 8);
    padded.set(bytes, 3);
    const inputs = [
      bytes.buffer,
      new Blob([bytes]),
      new DataView(padded.buffer, 3, bytes.length),
      padded.subarray(3, 3 + bytes.length),
    ];
    for (const input of inputs)
      expect(await decodeAudio(input as Uint8Array, "a")).toMatchObject({ channels, sampleRate });
  });

  it("names what is no file", async () => {
    for (const [input, got] of [
      ["a.wav", '"a.wav"'],
      [undefined, "undefined"],
      [[1, 2], "an object of class Array"],
    ] as const) {
      const error = await errorOf(() => decodeAudio(wrong(input), "a"));
      expect(error).toBeInstanceOf(ArgumentError);
      expect(error.message).toBe(
        `decodeAudio: file: expected the file's bytes: Uint8Array, ArrayBuffer or Blob, got ${got}`,
      );
    }
  });
});

describe("wrong arguments", () => {
  const gpuForm = "expected a Gpu, as new Gpu(DEVICE) or (await openDevice()).gpu";
  const filesForm = "expected ModelFiles, as modelDirectory(PATH) or memoryFiles(NAME, FILES) gives";
  it.each<[string, () => unknown, string]>([
    ["a path", () => Transcriber.load(gpu, wrong("m")), `Transcriber.load: files: ${filesForm}, got "m"`],
    [
      "nothing",
      () => Transcriber.load(gpu, wrong(undefined)),
      `Transcriber.load: files: ${filesForm}, got undefined`,
    ],
    ["no Gpu", () => Transcriber.load(wrong(null), files), `Transcriber.load: gpu: ${gpuForm}, got null`],
    [
      "a GPUDevice",
      () => Transcriber.load(wrong(gpu.device), files),
      `Transcriber.load: gpu: ${gpuForm}, got an object of class GPUDevice`,
    ],
    ["a path", () => Generator.load(gpu, wrong("m")), `Generator.load: files: ${filesForm}, got "m"`],
    [
      "a Map",
      () => openCheckpoint(wrong(new Map())),
      `openCheckpoint: files: ${filesForm}, got an object of class Map`,
    ],
    ["a path", () => openBundle(wrong("a.safetensors")), "openBundle: source: expected a ByteSource"],
    ["a path", () => verifyBundle(gpu, wrong("a.safetensors")), "verifyBundle: bundle: expected a bundle"],
    ["an adapter's options", () => new Gpu(wrong({})), "new Gpu: device: expected a GPUDevice"],
  ])("%s instead: %#", async (_, call, message) => {
    const error = await errorOf(call);
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error.message).toContain(message);
    expect(error.message).not.toContain("\n");
  });

  it("clips that were not prepared, audio that was not decoded", async () => {
    const transcriber = await Transcriber.load(gpu, files);
    expect((await errorOf(() => transcriber.transcribe(wrong(["a.wav"])))).message).toMatch(
      /^transcribe: clips: expected an array of clips, as prepare\(AUDIO, NAME\) gives, got /,
    );
    expect((await errorOf(() => transcriber.transcribe(wrong("a.wav")))).message).toMatch(
      /^transcribe: clips: /,
    );
    expect((await errorOf(() => transcriber.prepare(wrong(new Uint8Array(4)), "a"))).message).toMatch(
      /^prepare: audio: expected decoded audio, as await decodeAudio\(BYTES, NAME\) gives, got /,
    );
    transcriber.free();
  });
});

const stages = ["encoder", "adaptor", "prefill", "decode"] as const;
type Moment = (typeof stages)[number] | "text";

/** Options that call back at one moment of a transcription. */
const at = (moment: Moment, call: () => void): object => ({
  maxNewTokens: 20,
  onStage: (stage: string) => (stage === moment ? call() : undefined),
  onText: () => (moment === "text" ? call() : undefined),
});

describe("AbortSignal", () => {
  const reason = new Error("the user has seen enough");

  it("ends the loading and frees what was loaded", async () => {
    const before = gpu.bytes.kept;
    for (const part of [Transcriber, Generator]) {
      const control = new AbortController();
      const options = { signal: control.signal, onProgress: () => control.abort(reason) };
      await expect(part.load(gpu, files, options)).rejects.toBe(reason);
      expect(gpu.bytes.kept).toBe(before);
      await expect(part.load(gpu, files, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    }
  });

  it.each<Moment>([...stages, "text"])(
    "ends a transcription at %s; the next one is whole",
    async (moment) => {
      const transcriber = await Transcriber.load(gpu, files);
      const clip = transcriber.prepare(noiseClip(0.4, 1), "noise");
      const [whole] = await transcriber.transcribe([clip], { maxNewTokens: 20 });
      expect(whole.tokenIds.length).toBeGreaterThan(2);
      const { kept, live } = gpu.bytes;
      const control = new AbortController();
      const options = { ...at(moment, () => control.abort(reason)), signal: control.signal };
      await expect(transcriber.transcribe([clip], options)).rejects.toBe(reason);
      expect(gpu.bytes).toMatchObject({ kept, live });
      const [again] = await transcriber.transcribe([clip], { maxNewTokens: 20 });
      expect(again.tokenIds).toEqual(whole.tokenIds);
      transcriber.free();
    },
  );

  it("ends a translation and an answer", async () => {
    const transcriber = await Transcriber.load(gpu, files);
    const clip = transcriber.prepare(noiseClip(0.4, 1), "noise");
    const signal = AbortSignal.abort(reason);
    for (const cascade of [false, true])
      await expect(translate(transcriber, [clip], { to: "en", cascade, signal })).rejects.toBe(reason);
    transcriber.free();
    const generator = await Generator.load(gpu, files);
    const control = new AbortController();
    const onText = (): void => control.abort(reason);
    await expect(generator.generate({ prompt: "a", onText, signal: control.signal })).rejects.toBe(reason);
    generator.free();
  });
});

describe("a lost device is one GpuError", () => {
  let own: Gpu | undefined;
  const foreign: unknown[] = [];
  const collect = (error: unknown): void => void foreign.push(error);
  beforeAll(() => void process.on("unhandledRejection", collect));
  afterEach(() => {
    own?.destroy();
    expect(foreign).toEqual([]);
  });

  const isLoss = (error: Error): void => {
    expect(error).toBeInstanceOf(GpuError);
    expect(error.message).toMatch(/^the device is lost: [^\n]+; open another$/);
  };

  it("while weights are read", async () => {
    const lost = (own = (await openDevice()).gpu);
    isLoss(await errorOf(() => Transcriber.load(lost, files, { onProgress: () => lost.device.destroy() })));
  });

  it.each<Moment>([...stages, "text"])("at %s, and at the next call", async (moment) => {
    const lost = (own = (await openDevice()).gpu);
    const transcriber = await Transcriber.load(lost, files);
    const clip = transcriber.prepare(noiseClip(0.4, 1), "noise");
    const options = at(moment, () => lost.device.destroy());
    isLoss(await errorOf(() => transcriber.transcribe([clip], options)));
    isLoss(await errorOf(() => transcriber.transcribe([clip])));
  });
});
