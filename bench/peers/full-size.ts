import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { greedy } from "../../src/decode/greedy.js";
import type { Gpu } from "../../src/gpu/device.js";
import type { WeightFormat } from "../../src/gpu/matrix.js";
import type { Tensor } from "../../src/gpu/tensor.js";
import { type FunAsrNano, adapt, encode, loadFunAsrNano } from "../../src/model/fun-asr-nano.js";
import { modelDirectory } from "../../src/node/files.js";
import { type Spread, spread } from "../../src/profile/ceiling.js";
import { roundedSpread } from "./harness.js";
import { PeerProcess, type Run, sameAtFirst } from "./process.js";

/** A clip as all contenders get it. */
interface Clip {
  readonly features: Float32Array;
  readonly frames: number;
  readonly ids: readonly number[];
}

const tokens = 24;
const textBefore = 14; // tokens of the prompt before the audio
const textAfter = 9;

/** Seeded features and a prompt around them. */
function makeClip(seconds: number, width: number, audioTokenId: number): Clip {
  const frames = Math.round(seconds / 0.06);
  let state = 7;
  const next = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 31 - 1;
  const features = Float32Array.from({ length: frames * width }, () => 3 * next());
  const text = (count: number): number[] => Array.from({ length: count }, (_, i) => 1000 + 37 * i);
  const audio = Array<number>(frames).fill(audioTokenId);
  return { features, frames, ids: [...text(textBefore), ...audio, ...text(textAfter)] };
}

/** Encoder, adaptor, prompt and tokens of a batch of one clip many times, on this engine. */
export async function runEngine(gpu: Gpu, model: FunAsrNano, clips: readonly Clip[]): Promise<Run> {
  const start = performance.now();
  let first = start;
  const frames = clips.map((clip) => clip.frames);
  const features = new Float32Array(clips.reduce((sum, clip) => sum + clip.features.length, 0));
  let at = 0;
  for (const clip of clips) {
    features.set(clip.features, at);
    at += clip.features.length;
  }
  let audio: Tensor | undefined;
  await gpu.step(() => {
    audio = gpu.hold(gpu.scope(() => adapt(gpu, model, encode(gpu, model, { features, frames }), frames)));
    return [];
  });
  const prompts = clips.map(({ ids, frames: audioLength }) => ({
    ids,
    audioOffset: textBefore,
    audioLength,
  }));
  const options = {
    stopIds: new Set<number>(),
    maxNewTokens: clips.map(() => tokens),
    guardLoops: false,
    onPrefill: () => (first = performance.now()),
  };
  const [{ tokenIds }] = await greedy(gpu, model, prompts, audio!, options);
  gpu.release(audio!);
  const end = performance.now();
  return { seconds: (end - start) / 1000, decode: (end - first) / 1000, ids: tokenIds };
}

async function loadModel(gpu: Gpu, directory: string, weights: WeightFormat): Promise<FunAsrNano> {
  const checkpoint = await openCheckpoint(modelDirectory(directory));
  try {
    return await loadFunAsrNano(gpu, checkpoint.config, checkpoint, { weights });
  } finally {
    await checkpoint.close();
  }
}

export interface FullSizeResult {
  readonly versions: string;
  readonly frames: number;
  readonly promptTokens: number;
  readonly tokens: number;
  /** Seconds of the whole, by contender. */
  readonly seconds: Readonly<Record<string, Spread>>;
  /** Tokens a second after the first. */
  readonly tokensPerSecond: Readonly<Record<string, Spread>>;
  /** Tokens at the beginning that are PyTorch's. */
  readonly sameTokens: Readonly<Record<string, number>>;
}

/** A clip at full size, alone: this engine in some formats and PyTorch on the CPU, in turn. */
export async function timeFullSize(
  gpu: Gpu,
  directory: string,
  {
    python,
    formats,
    seconds,
    rounds,
  }: {
    readonly python: string;
    readonly formats: readonly WeightFormat[];
    readonly seconds: number;
    readonly rounds: number;
  },
): Promise<FullSizeResult> {
  const torch = new PeerProcess(python, "torch_peer.py", [directory, "--threads", "2"]);
  const work = mkdtempSync(join(tmpdir(), "peers-"));
  const models = new Map<WeightFormat, FunAsrNano>();
  try {
    const versions = await torch.ready();
    for (const format of formats) models.set(format, await loadModel(gpu, directory, format));
    const { encoder, audioTokenId } = [...models.values()][0].config;
    const clip = makeClip(seconds, encoder.inputSize, audioTokenId);
    const file = join(work, "features.f32");
    writeFileSync(file, clip.features);
    const request = { features: file, frames: clip.frames, ids: clip.ids, tokens };
    const contenders = new Map<string, () => Promise<Run>>([["PyTorch CPU f32", () => torch.run(request)]]);
    for (const [format, model] of models)
      contenders.set(`funasr-webgpu ${format}`, () => runEngine(gpu, model, [clip]));
    const runs = new Map<string, Run[]>([...contenders.keys()].map((name) => [name, []]));
    for (let i = -1; i < rounds; i++) {
      for (const [name, run] of contenders) {
        const result = await run();
        if (i >= 0) runs.get(name)!.push(result);
      }
    }
    const want = runs.get("PyTorch CPU f32")![0].ids;
    const of = <T>(value: (list: readonly Run[]) => T): Record<string, T> =>
      Object.fromEntries([...runs].map(([name, list]) => [name, value(list)]));
    return {
      versions: `torch ${versions.torch}, transformers ${versions.transformers}`,
      frames: clip.frames,
      promptTokens: clip.ids.length,
      tokens,
      seconds: of((list) => roundedSpread(spread(list.map((run) => run.seconds)))),
      tokensPerSecond: of((list) => roundedSpread(spread(list.map((run) => (tokens - 1) / run.decode)))),
      sameTokens: of(([{ ids }]) => sameAtFirst(ids, want)),
    };
  } finally {
    torch.end();
    rmSync(work, { recursive: true, force: true });
    for (const model of models.values()) model.free();
  }
}

/** Clips a second of batches of one and of eight. */
export async function timeBatches(
  gpu: Gpu,
  directory: string,
  weights: WeightFormat,
  { seconds, rounds }: { readonly seconds: number; readonly rounds: number },
): Promise<Record<"1" | "8", Spread>> {
  const model = await loadModel(gpu, directory, weights);
  try {
    const clip = makeClip(seconds, model.config.encoder.inputSize, model.config.audioTokenId);
    const rates: Record<"1" | "8", number[]> = { "1": [], "8": [] };
    for (let i = -1; i < rounds; i++) {
      for (const size of ["1", "8"] as const) {
        const run = await runEngine(gpu, model, Array<Clip>(Number(size)).fill(clip));
        if (i >= 0) rates[size].push(Number(size) / run.seconds);
      }
    }
    return { "1": roundedSpread(spread(rates["1"])), "8": roundedSpread(spread(rates["8"])) };
  } finally {
    model.free();
  }
}
