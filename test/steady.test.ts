import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeAll, describe, expect, it } from "vitest";
import { type PreparedClip, Transcriber } from "../src/decode/transcriber.js";
import { greedy } from "../src/decode/greedy.js";
import type { GpuCounts } from "../src/gpu/device.js";
import { paramsBytes } from "../src/gpu/pipelines.js";
import { type FunAsrNano, adapt, encode } from "../src/model/fun-asr-nano.js";
import { useGpu } from "./gpu.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";

const gpu = useGpu();
let transcriber: Transcriber;
let clips: PreparedClip[];

beforeAll(async () => {
  transcriber = await Transcriber.load(gpu(), await tinyModel({ seed: 5 }));
  clips = [0.2, 0.5, 0.9, 1.4, 2.3].map((seconds, i) => transcriber.prepare(noiseClip(seconds, i), `${i}`));
});

/** Runs the collector; bytes of the process, and of what JavaScript holds inside and outside its heap. */
function memory(): { resident: number; held: number } {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss, held: heapUsed + external };
}

// Plan: 200 transcriptions of clips of five lengths, after 150 in which the driver's and libc's own pools grow to their size
// (20 MB on lavapipe). GPU bytes and cached bind groups are the same after every round of the five, so a leaked cache or activation
// shows at once.
// JavaScript may hold 1 MB more, 5 kB a transcription, an eighth of a clip's features. The process's size wavers by 15 MB from run to
// run and by more on a busy machine; it must stay below what it would grow by if the driver kept a tenth of each transcription's
// buffers: 34 MB, a tenth of 1.8 MB for each of 190.
describe("200 transcriptions", () => {
  it("leave GPU bytes and memory flat", async () => {
    const held = new Set<string>(); // on the GPU, after each round
    const round = async (): Promise<void> => {
      for (const clip of clips) await transcriber.transcribe([clip], { maxNewTokens: 5 });
      expect(gpu().bytes.live).toBe(0);
      held.add(JSON.stringify([gpu().bytes, gpu().cached]));
    };
    /** The least of three readings, a round apart: what a busy machine has not yet collected is no growth. */
    const floor = async (): Promise<ReturnType<typeof memory>> => {
      const readings = [memory()];
      for (let i = 0; i < 2; i++) {
        await round();
        readings.push(memory());
      }
      const least = (key: keyof ReturnType<typeof memory>): number =>
        Math.min(...readings.map((r) => r[key]));
      return { held: least("held"), resident: least("resident") };
    };
    for (let i = 0; i < 28; i++) await round();
    const early = await floor();
    const between = 38;
    for (let i = 0; i < between; i++) await round();
    const late = await floor();
    const { reserved, kept } = gpu().bytes;
    const leaked = (between * clips.length * (reserved - kept - paramsBytes)) / 10;
    expect([...held]).toHaveLength(1);
    expect(late.held - early.held).toBeLessThan(1e6);
    expect(leaked).toBeGreaterThan(30e6); // twice what it wavers by
    expect(late.resident - early.resident).toBeLessThan(leaked);
  });
});

const layerDispatches = 11; // 2 norms, q k v, attention, memory, o with its sum, the residual sum, fc1, fc2 with its sum
const stemDispatches = layerDispatches - 1; // no attention residual
const blockDispatches = layerDispatches - 2; // no memory, and no sum beside it
const decoderDispatches = 6; // qkv with its norm, heads' norms with rotation and cache, attention, o, gate and up with norm and SwiGLU, down
const severalRows = 3; // dispatches more: both norms, SwiGLU

const difference = (after: GpuCounts, before: GpuCounts): GpuCounts => ({
  dispatches: after.dispatches - before.dispatches,
  submits: after.submits - before.submits,
  pipelines: after.pipelines - before.pipelines,
  bindGroups: after.bindGroups - before.bindGroups,
});

/** What one step adds to the counts. */
async function countStep(body: () => void): Promise<GpuCounts> {
  const before = gpu().counts;
  await gpu().step(() => {
    body();
    return [];
  });
  return difference(gpu().counts, before);
}

// Plan: dispatches of encoder and adaptor are the number that the layer counts predict, in one submit, for clips of any
// length and for batches.
describe("encoder and adaptor", () => {
  it.each([[[2]], [[4, 0]], [[0, 1, 2, 3, 4]]])("clips %j", async (chosen) => {
    const { model } = transcriber;
    const { encoder, adaptor } = model.config;
    const batch = chosen.map((i) => clips[i]);
    const frames = batch.map((clip) => clip.frames);
    const features = Float32Array.from(batch.flatMap((clip) => [...clip.features]));
    const encoded = await countStep(() => encode(gpu(), model, { features, frames }));
    const norms = 2; // after the transcription and after the timestamp layers
    const inner = (encoder.layers + encoder.tpLayers) * layerDispatches;
    expect(encoded).toMatchObject({ dispatches: 1 + stemDispatches + inner + norms, submits: 1 });
    const both = await countStep(() =>
      adapt(gpu(), model, encode(gpu(), model, { features, frames }), frames),
    );
    const adapted = { dispatches: both.dispatches - encoded.dispatches, submits: both.submits };
    expect(adapted).toEqual({ dispatches: 2 + adaptor.layers * blockDispatches, submits: 1 });
  });

  it("the low frame rate's choice of rows is one dispatch more", async () => {
    const low = await Transcriber.load(gpu(), await tinyModel({ seed: 5, rule: "low_frame_rate" }));
    const { features, frames } = clips[1];
    const count = (model: FunAsrNano): Promise<GpuCounts> =>
      countStep(() => {
        const states = encode(gpu(), model, { features, frames: [frames] });
        adapt(gpu(), model, states, [frames]);
      });
    const all = await count(transcriber.model);
    expect((await count(low.model)).dispatches).toBe(all.dispatches + 1);
    low.free();
  });
});

/** Counts of the prefill, then of each token's step. */
async function countTokens(batch: readonly PreparedClip[], tokens: number): Promise<GpuCounts[]> {
  const { model } = transcriber;
  const frames = batch.map((clip) => clip.frames);
  const features = Float32Array.from(batch.flatMap((clip) => [...clip.features]));
  let audio: ReturnType<typeof adapt>;
  await gpu().step(() => {
    audio = gpu().hold(adapt(gpu(), model, encode(gpu(), model, { features, frames }), frames));
    return [];
  });
  const prompts = frames.map((count) => ({
    ids: [1033, 9, ...new Array<number>(count).fill(1035), 1034],
    audioOffset: 2,
    audioLength: count,
  }));
  const steps: GpuCounts[] = [];
  let before = gpu().counts;
  await greedy(gpu(), model, prompts, audio!, {
    stopIds: new Set(),
    maxNewTokens: prompts.map(() => tokens),
    guardLoops: false,
    onToken: (sequence) => {
      if (sequence > 0) return;
      steps.push(difference(gpu().counts, before));
      before = gpu().counts;
    },
  });
  gpu().release(audio!);
  return steps;
}

// Plan: alone and in a batch, each token is one submit of as many dispatches as the layer count predicts; the submit of the next
// token goes before a token is handed over, and none follows the last. After the first step that the cache served, none makes a
// pipeline or a bind group, while the cache grows past several attention tiles.
describe("decoding", () => {
  it.each([
    ["one clip", [3]],
    ["three clips", [4, 0, 2]],
  ])("%s", async (_, chosen) => {
    const tokens = await countTokens(
      chosen.map((i) => clips[i]),
      150,
    );
    const { layers } = transcriber.model.config.llm;
    const ofRows = (rows: number): number => {
      return 1 + layers * (decoderDispatches + (rows > 1 ? severalRows : 0)) + 3; // embedding; norm, head, argmax
    };
    const step = ofRows(chosen.length);
    expect(tokens).toHaveLength(150);
    const alone = chosen.length === 1 ? 2 : 0; // norm and SwiGLU of the last layer's last row
    const prefill = ofRows(2) + 3 - alone; // and the splice; the last rows of the attention and of its input
    expect(tokens[0]).toMatchObject({ submits: 2, dispatches: prefill + step });
    const expected: GpuCounts = { dispatches: step, submits: 1, pipelines: 0, bindGroups: 0 };
    const steps = tokens.slice(1, -1);
    expect(steps).toEqual(steps.map(() => expected));
    expect(tokens.at(-1)).toEqual({ dispatches: 0, submits: 0, pipelines: 0, bindGroups: 0 });
  });

  it("makes no pipeline for a second clip of another length", async () => {
    await countTokens([clips[1]], 3);
    const counts = await countTokens([clips[4]], 3);
    expect(counts.map(({ pipelines }) => pipelines)).toEqual([0, 0, 0]);
  });
});
