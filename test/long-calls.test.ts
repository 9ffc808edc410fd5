// Plan: every function of the library is in one of two lists. A long call ends with the reason of a
// signal, that was aborted before or in its midst; it leaves no file and no bytes on the GPU. Where
// the device is lost in its midst it rejects with one GpuError of one line; nothing hangs, and no
// promise is left that rejects unheard.
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { transformersFiles } from "../src/checkpoint/convert.js";
import type { ByteSource, ModelFiles } from "../src/checkpoint/source.js";
import { translate } from "../src/decode/translator.js";
import { forceClips } from "../src/evaluate/forced-clips.js";
import { MemoryPeak, runUtterances, timeSecond, warmUp } from "../src/evaluate/run.js";
import * as library from "../src/index.js";
import * as node from "../src/node.js";
import { funasrTemplate } from "../src/tokenizer/funasr-template.js";
import { train } from "../src/train/loop.js";
import { defaultOptions } from "../src/train/options.js";
import { openSession } from "../src/train/session.js";
import { bundlePath } from "./helpers/bundles.js";
import { commit, files as hubFiles, quick, repo } from "./helpers/hub-bench.js";
import { HubServer } from "./helpers/hub-server.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";
import { trainingDirectory } from "./helpers/training.js";

const { Generator, GpuError, Transcriber, VoiceActivityDetector, decodeAudio } = library;
const { openBundle, openCheckpoint, openLlm } = library;
type Gpu = library.Gpu;

let files: ModelFiles;
let gpu: Gpu;
let root = "";
const unheard: unknown[] = [];
const collect = (error: unknown): void => void unheard.push(error);
beforeAll(async () => {
  process.on("unhandledRejection", collect);
  root = mkdtempSync(join(tmpdir(), "long-calls-"));
  files = await tinyModel({ seed: 5 });
  ({ gpu } = await node.openDevice());
});
afterAll(() => {
  process.off("unhandledRejection", collect);
  rmSync(root, { recursive: true });
});

/** What a call is given. */
interface Call {
  readonly gpu: Gpu;
  readonly signal?: AbortSignal;
  /** Called in the midst of the work, once or more. */
  readonly midway: () => void;
  /** An empty directory for what is written. */
  readonly out: string;
}
type Run = (call: Call) => Promise<unknown>;

/** Runs `body` with a loaded model, and frees it. */
const withTranscriber =
  (
    body: (transcriber: library.Transcriber, clips: library.PreparedClip[], call: Call) => Promise<unknown>,
  ): Run =>
  async (call) => {
    const transcriber = await Transcriber.load(call.gpu, files);
    try {
      const clips = [1, 2].map((seed) => transcriber.prepare(noiseClip(0.4, seed), `noise ${seed}`));
      return await body(transcriber, clips, call);
    } finally {
      transcriber.free();
    }
  };

/** Runs `body` with a loaded detector, and frees it. */
const withDetector =
  (body: (detector: library.VoiceActivityDetector, call: Call) => Promise<unknown>): Run =>
  async (call) => {
    const detector = await VoiceActivityDetector.load(call.gpu, node.modelDirectory(node.vadModel));
    return body(detector, call).finally(() => detector.free());
  };

/** Calls `midway` as a step begins, from the second on. */
function fromSecondStep(device: Gpu, midway: () => void): () => void {
  const step = device.step.bind(device);
  let steps = 0;
  device.step = (body, program) => {
    if (++steps > 1) midway();
    return step(body, program);
  };
  return () => void (device.step = step);
}

/** Runs `body` with an open bundle, each of whose reads is in the midst. */
async function withBundle(
  name: string,
  midway: () => void,
  body: (bundle: library.Bundle) => Promise<unknown>,
): Promise<unknown> {
  const source = await node.openFile(bundlePath(name));
  let opened = false;
  const watched: ByteSource = {
    ...source,
    read: (...range) => (opened && midway(), source.read(...range)),
  };
  try {
    const bundle = await openBundle(watched);
    opened = true;
    return await body(bundle);
  } finally {
    await source.close();
  }
}

const verify =
  (name: string): Run =>
  ({ gpu: device, signal, midway }) =>
    withBundle(name, midway, (bundle) => library.verifyBundle(device, bundle, { signal }));

const utterances = [1, 2, 3].map((line) => ({ audio: `${line}`, text: "set the oven", line }));
const evaluation = withTranscriber(async (transcriber, _, { gpu: device, signal, midway }) => {
  const read = (): Promise<library.DecodedAudio> => Promise.resolve(noiseClip(0.4, 1));
  const memory = new MemoryPeak(device, () => 0);
  const settings = { task: "asr", batch: 1, maxNewTokens: 4, forced: true } as const;
  const tools = {
    read,
    warn: () => undefined,
    describe: String,
    recordings: { detector: () => Promise.reject(new Error("not asked for")), settings: {} },
    onRecord: midway,
    signal,
  };
  await runUtterances(transcriber, utterances, settings, tools, memory);
});

/** Calls that run a model. */
const onGpu: Readonly<Record<string, Run>> = {
  "Transcriber.load": ({ gpu: device, signal, midway }) =>
    Transcriber.load(device, files, { signal, onProgress: midway }),
  "Generator.load": ({ gpu: device, signal, midway }) =>
    Generator.load(device, files, { signal, onProgress: midway }),
  loadTranscriber: ({ gpu: device, signal, midway }) =>
    node.loadTranscriber(device, node.demoModel, { signal, onProgress: midway }),
  loadGenerator: ({ gpu: device, signal, midway }) =>
    node.loadGenerator(device, node.demoModel, { signal, onProgress: midway }),
  "Transcriber.transcribe": withTranscriber((transcriber, clips, { signal, midway }) =>
    transcriber.transcribe(clips, { signal, onStage: (stage) => stage === "adaptor" && midway() }),
  ),
  "Generator.generate": async ({ gpu: device, signal, midway }) => {
    const generator = await Generator.load(device, files);
    return generator.generate({ prompt: "a", signal, onText: midway }).finally(() => generator.free());
  },
  verifyBundle: verify("llm-one-token"),
  "VoiceActivityDetector.probabilities": withDetector((detector, { gpu: device, signal, midway }) => {
    const restore = fromSecondStep(device, midway);
    return detector.probabilities(new Float32Array(61 * 16_000), { signal }).finally(restore);
  }),
  TranscriptionEngine: withTranscriber(async (transcriber, clips, { signal, midway }) => {
    const engine = new library.TranscriptionEngine(transcriber);
    try {
      await engine.submit(clips[0], { maxNewTokens: 9, signal, onText: midway });
    } finally {
      await engine.close();
    }
  }),
  transcribeAlone: withTranscriber((transcriber, clips, { signal, midway }) =>
    library.transcribeAlone(clips, (some) =>
      transcriber.transcribe(some, { maxNewTokens: 9, signal, onText: midway }),
    ),
  ),
  transcribeRecording: withTranscriber((transcriber, _, call) => {
    const { signal, midway } = call;
    const blocks = function* (): Generator<Float32Array> {
      yield new Float32Array(16_000);
      midway();
      yield new Float32Array(16_000);
    };
    return withDetector((detector) =>
      library.transcribeRecording(transcriber, detector, blocks(), { signal }),
    )(call);
  }),
};
/** Others of `verifyBundle`, and long calls of the commands. */
const beside: Readonly<Record<string, Run>> = {
  "verifyBundle, an encoder": verify("encoder-7"),
  "verifyBundle, a training": verify("train-lora"),
  translate: withTranscriber((transcriber, clips, { signal, midway }) =>
    translate(transcriber, clips, { to: "en", cascade: true, signal, onStage: midway }),
  ),
  "evaluate's run": evaluation,
  forceClips: withTranscriber((transcriber, clips, { gpu: device, signal, midway }) => {
    const restore = fromSecondStep(device, midway);
    return forceClips(transcriber, clips, ["set", "the"], { signal }).finally(restore);
  }),
  "warmUp and timeSecond": withTranscriber(async (transcriber, _, { gpu: device, signal, midway }) => {
    const restore = fromSecondStep(device, midway);
    try {
      await warmUp(transcriber, noiseClip(1, 1), signal);
      await timeSecond(transcriber, noiseClip(1, 1), 2, { maxNewTokens: 2, signal });
    } finally {
      restore();
    }
  }),
};

/** Runs `body` with a hub that has a model. */
async function withHub(
  body: (options: node.HubOptions) => Promise<unknown>,
  { out, signal, midway }: Call,
): Promise<unknown> {
  const server = new HubServer();
  await server.start();
  server.repos.set(repo, { files: hubFiles, refs: { main: commit } });
  const home = mkdtempSync(join(root, "home-"));
  try {
    const env = { HF_HOME: home, HOME: home, HF_ENDPOINT: server.endpoint };
    return await body({ env, patience: quick, signal, onProgress: midway });
  } finally {
    await server.stop();
    expect(readdirSync(out)).toEqual([]);
  }
}

function* twoPieces(midway: () => void): Generator<Uint8Array> {
  yield new Uint8Array(4);
  midway();
  yield new Uint8Array(4);
}

/** Calls on files. */
const onFiles: Readonly<Record<string, Run>> = {
  verifyOutputs: ({ signal, midway }) =>
    withBundle("adaptor-packed", midway, (bundle) => {
      const stages = bundle.stages.map((stage) => {
        const { shape } = bundle.file.tensors.get(stage)!;
        return [
          stage,
          { shape, data: new Float32Array(shape.reduce((all, size) => all * size, 1)) },
        ] as const;
      });
      return library.verifyOutputs(bundle, new Map(stages), { signal });
    }),
  decodeAudio: ({ signal, midway }) => {
    const bytes = readFileSync(new URL("fixtures/audio/speech.flac", import.meta.url));
    const blob = new (class extends Blob {
      override arrayBuffer(): Promise<ArrayBuffer> {
        midway();
        return super.arrayBuffer();
      }
    })([bytes]);
    return decodeAudio(blob, "a", { signal });
  },
  streamAudio: ({ signal, midway }) => {
    const bytes = new Uint8Array(readFileSync(new URL("fixtures/audio/speech.flac", import.meta.url)));
    const read = (at: number, length: number): Promise<Uint8Array> =>
      Promise.resolve(bytes.subarray(at, at + length));
    return library.streamAudio({ size: bytes.length, read }, "a", { rate: 16_000, signal }, midway);
  },
  transformersFiles: async ({ out, signal, midway }) => {
    const options = { template: funasrTemplate, signal, onProgress: midway };
    const outputs = await transformersFiles(await openCheckpoint(files), options);
    await node.writeDirectoryAtomic(join(out, "model"), outputs);
  },
  planMigration: async ({ signal, midway }) => {
    const sha256 = (): library.MigrateOptions["sha256"] extends () => infer S ? S : never => {
      const hash = createHash("sha256");
      return {
        update: (bytes) => (midway(), hash.update(bytes)),
        digest: (encoding) => hash.digest(encoding),
      };
    };
    const options = { template: funasrTemplate, signal, sha256 };
    return library.planMigration(await openCheckpoint(files), await openLlm(files), options);
  },
  writeDirectoryAtomic: async ({ out, signal, midway }) => {
    const outputs = await transformersFiles(await openCheckpoint(files), {
      template: funasrTemplate,
      onProgress: midway,
    });
    await node.writeDirectoryAtomic(join(out, "model"), outputs, { signal });
  },
  writeFileAtomic: ({ out, signal, midway }) =>
    node.writeFileAtomic(join(out, "a"), twoPieces(midway), { signal }),
  writeSafetensorsFile: ({ out, signal, midway }) => {
    const data = (): Uint8Array => (midway(), new Uint8Array(4));
    const tensors = ["a", "b"].map((name) => ({ name, dtype: "F32" as const, shape: [1], data }));
    return node.writeSafetensorsFile(join(out, "a"), tensors, undefined, { signal });
  },
  downloadFiles: (call) =>
    withHub((options) => node.downloadFiles({ repo, revision: "main" }, (paths) => paths, options), call),
  resolveModel: (call) => withHub((options) => node.resolveModel(repo, options), call),
};

/**
 * Functions that end by themselves: they read headers alone, work on one clip or a few values, or
 * end with the caller's loop.
 */
const short = [
  ...[
    "Gpu",
    "requestGpu",
    "subgroupSize",
    "gpuSizes",
    "parseKernel",
    "openCheckpoint",
    "openLlm",
    "bytesSource",
    "memoryFiles",
  ],
  ...["pickChannel", "subtitles", "joinTexts", "silencesOf"],
  ...["Segmenter", "DetectedSpeech", "GivenSpeech", "Recording"], // pieces of transcribeRecording
  ...["runInEngine", "liveParts", "LiveSession"], // calls of an engine
  ...["parseSegments", "withoutSilenceMarks", "transcriptPage", "Waveform", "levelsOf"],
  ...["load", "stream", "free"].map((name) => `VoiceActivityDetector.${name}`),
  ...["extractFeatures", "toWaveform", "openBundle", "readStage", "readParameter", "medianRatio"],
  ...["openDevice", "modelDirectory", "openFile", "restfulWait", "readUtterances", "utteranceLine"],
  ...["prepare", "free", "checkPrompt", "limits", "maxSeconds", "promptTokens", "withTimes"].map(
    (name) => `Transcriber.${name}`,
  ),
  "Generator.free",
];

function methodsOf(object: object): string[] {
  return Object.entries(Object.getOwnPropertyDescriptors(object))
    .filter(([name, { value }]) => name !== "constructor" && typeof value === "function")
    .map(([name]) => name);
}

function functionsOf(exported: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(exported).flatMap(([name, value]) => {
    if (typeof value !== "function") return [];
    const prototype = value.prototype as object | undefined;
    if (prototype instanceof Error) return [];
    if (![Transcriber, Generator, VoiceActivityDetector].some((known) => known === value)) return [name];
    return [...methodsOf(value), ...methodsOf(prototype!)].map((method) => `${name}.${method}`);
  });
}

it("every function of the library is in one of the lists", () => {
  const listed = [...Object.keys(onGpu), ...Object.keys(onFiles), ...short];
  expect(functionsOf({ ...library, ...node }).sort()).toEqual(listed.sort());
});

describe.each(Object.entries({ ...onGpu, ...beside, ...onFiles }))("%s", (_, run) => {
  const reason = new Error("the user has seen enough");

  it.each(["before", "in its midst"])("aborted %s", async (when) => {
    const out = mkdtempSync(join(root, "out-"));
    const control = new AbortController();
    const { signal } = control;
    let reached = false;
    const midway = (): void => {
      reached = true;
      control.abort(reason);
    };
    if (when === "before") control.abort(reason);
    const { kept, live } = gpu.bytes;
    await expect(run({ gpu, signal, midway, out })).rejects.toBe(reason);
    if (when !== "before") expect(reached).toBe(true);
    expect(gpu.bytes).toMatchObject({ kept, live });
    expect(readdirSync(out)).toEqual([]);
    expect(unheard).toEqual([]);
  });
});

/** Steps of a training on a directory of its own. */
const training: Run = async ({ gpu: device, midway, out }) => {
  const { path, data, remove } = await trainingDirectory();
  try {
    const options = { ...defaultOptions, steps: 3, warmup: 0, batchTokens: 400, every: 100, decode: 0 };
    const session = await openSession(device, {
      model: node.modelDirectory(join(path, "model")),
      data,
      tune: ["adaptor"],
      out: join(out, "run"),
      cache: join(path, "cache"),
      skipBad: false,
      onBad: () => undefined,
      options,
    });
    await train(session.run, false, { onStep: midway });
  } finally {
    remove();
  }
};

describe("a device that is lost in the midst is one GpuError", () => {
  it.each(Object.entries({ ...onGpu, ...beside, training }))("%s", async (_, run) => {
    const { gpu: own } = await node.openDevice();
    const out = mkdtempSync(join(root, "out-"));
    const failed = await run({ gpu: own, midway: () => own.device.destroy(), out }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failed).toBeInstanceOf(GpuError);
    expect((failed as Error).message).toMatch(/^the device is lost: [^\n]+; open another$/);
    await new Promise((resolve) => setImmediate(resolve));
    expect(unheard).toEqual([]);
    own.destroy();
  });
});
