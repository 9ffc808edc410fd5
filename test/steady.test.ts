import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeAll, describe, expect, it } from "vitest";
import { type PreparedClip, Transcriber } from "../src/decode/transcriber.js";
import { greedy } from "../src/decode/greedy.js";
import { countedDevice, countingGpu } from "../src/gpu/counting.js";
import type { Gpu, GpuCounts } from "../src/gpu/device.js";
import { paramsBytes } from "../src/gpu/pipelines.js";
import { type FunAsrNano, adapt, encode, loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import { shapeSource } from "../src/weights/shapes.js";
import { useGpu } from "./gpu.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";

const gpu = useGpu();
let transcriber: Transcriber;
let clips: PreparedClip[];

beforeAll(async () => {
  transcriber = await Transcriber.load(gpu(), await tinyModel({ seed: 5 }));
  clips = [0.2, 0.5, 0.9, 1.4, 2.3].map((seconds, i) => transcriber.prepare(noiseClip(seconds, i), `${i}`));
});

/**
 * Runs the collector; bytes of the process, and of what JavaScript holds inside and outside its
 * heap.
 */
function memory(): { resident: number; held: number } {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss, held: heapUsed + external };
}

// Plan: 200 transcriptions of clips of five lengths, after 150 in which the driver's and libc's own
// pools grow to their size (20 MB on lavapipe). GPU bytes and cached bind groups are the same after
// every round of the five, so a leaked cache or activation shows at once. JavaScript may hold 1 MB
// more, 5 kB a transcription, an eighth of a clip's features. The process's size wavers by 15 MB
// from run to run and by more on a busy machine; it must stay below what it would grow by if the
// driver kept a tenth of each transcription's buffers: 34 MB, a tenth of 1.8 MB for each of 190.
describe("200 transcriptions", () => {
  it("leave GPU bytes and memory flat", async () => {
    const held = new Set<string>(); // on the GPU, after each round
    const round = async (): Promise<void> => {
      for (const clip of clips) await transcriber.transcribe([clip], { maxNewTokens: 5 });
      expect(gpu().bytes.live).toBe(0);
      held.add(JSON.stringify([gpu().bytes, gpu().cached]));
    };
    /**
     * The least of three readings, a round apart: what a busy machine has not yet collected is no
     * growth.
     */
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

const difference = (after: GpuCounts, before: GpuCounts): GpuCounts => ({
  dispatches: after.dispatches - before.dispatches,
  submits: after.submits - before.submits,
  pipelines: after.pipelines - before.pipelines,
  bindGroups: after.bindGroups - before.bindGroups,
});

/** What one step adds to the counts. */
async function countStep(gpu: Gpu, body: () => void): Promise<Pick<GpuCounts, "dispatches" | "submits">> {
  const before = gpu.counts;
  await gpu.step(() => (body(), []));
  const { dispatches, submits } = difference(gpu.counts, before);
  return { dispatches, submits };
}

/** A model's shapes on a device that counts as this one does. */
async function counting({ config }: FunAsrNano): Promise<[Gpu, FunAsrNano]> {
  const counter = countingGpu(countedDevice(gpu()));
  return [counter, await loadFunAsrNano(counter, config, shapeSource(config))];
}

// Plan: encoder and adaptor make the dispatches that are counted for them, each in one submit, for
// clips of any length and for batches.
describe("encoder and adaptor", () => {
  it.each([[[2]], [[4, 0]], [[0, 1, 2, 3, 4]]])("clips %j", async (chosen) => {
    const batch = chosen.map((i) => clips[i]);
    const frames = batch.map((clip) => clip.frames);
    const features = Float32Array.from(batch.flatMap((clip) => [...clip.features]));
    const count = async (on: Gpu, model: FunAsrNano): Promise<unknown[]> => [
      await countStep(on, () => encode(on, model, { features, frames })),
      await countStep(on, () => adapt(on, model, encode(on, model, { features, frames }), frames)),
    ];
    const counted = await count(...(await counting(transcriber.model)));
    expect(await count(gpu(), transcriber.model)).toEqual(counted);
    expect(counted).toMatchObject([{ submits: 1 }, { submits: 1 }]);
  });

  it("the low frame rate's choice of rows is one dispatch more", async () => {
    const low = await Transcriber.load(gpu(), await tinyModel({ seed: 5, rule: "low_frame_rate" }));
    const { features, frames } = clips[1];
    const count = (model: FunAsrNano): Promise<{ dispatches: number }> =>
      countStep(gpu(), () => {
        const states = encode(gpu(), model, { features, frames: [frames] });
        adapt(gpu(), model, states, [frames]);
      });
    const all = await count(transcriber.model);
    expect((await count(low.model)).dispatches).toBe(all.dispatches + 1);
    low.free();
  });
});

/** Counts of the prefill, then of each token's step. */
async function countTokens(
  batch: readonly PreparedClip[],
  tokens: number,
  [on, model]: readonly [Gpu, FunAsrNano] = [gpu(), transcriber.model],
  usualTokens = tokens,
): Promise<GpuCounts[]> {
  const frames = batch.map((clip) => clip.frames);
  const features = Float32Array.from(batch.flatMap((clip) => [...clip.features]));
  let audio: ReturnType<typeof adapt>;
  await on.step(() => {
    audio = on.hold(adapt(on, model, encode(on, model, { features, frames }), frames));
    return [];
  });
  const prompts = frames.map((count) => ({
    ids: [1033, 9, ...new Array<number>(count).fill(1035), 1034],
    audioOffset: 2,
    audioLength: count,
  }));
  const steps: GpuCounts[] = [];
  let before = on.counts;
  await greedy(on, model, prompts, audio!, {
    stopIds: new Set(),
    maxNewTokens: prompts.map(() => tokens),
    usualTokens: prompts.map(() => usualTokens),
    guardLoops: false,
    onToken: (sequence) => {
      if (sequence > 0) return;
      steps.push(difference(on.counts, before));
      before = on.counts;
    },
  });
  on.release(audio!);
  return steps;
}

// Plan: alone and in a batch, each token is one submit of as many dispatches as are counted; the
// submit of the next token goes before a token is handed over, and none follows the last. After the
// first step that the cache served, none makes a pipeline or a bind group, while the cache grows
// past several attention tiles.
describe("decoding", () => {
  it.each([
    ["one clip", [3]],
    ["three clips", [4, 0, 2]],
  ])("%s", async (_, chosen) => {
    const batch = chosen.map((i) => clips[i]);
    const tokens = await countTokens(batch, 150);
    const [first, second] = await countTokens(batch, 150, await counting(transcriber.model));
    expect(tokens).toHaveLength(150);
    expect(tokens[0]).toMatchObject({ submits: 2, dispatches: first.dispatches });
    const expected: GpuCounts = { dispatches: second.dispatches, submits: 1, pipelines: 0, bindGroups: 0 };
    const steps = tokens.slice(1, -1);
    expect(steps).toEqual(steps.map(() => expected));
    expect(tokens.at(-1)).toEqual({ dispatches: 0, submits: 0, pipelines: 0, bindGroups: 0 });
  });

  // 26 tokens of prompt: a pool of 2, then 3, 5 and 6 pages, for the tokens at 64, 96 and 160.
  it("past the cache's room: bind groups of each layer's cache write and attention as it grows, nothing else", async () => {
    const [clip] = [clips[3]];
    const tokens = await countTokens([clip], 160, undefined, 30);
    const { layers } = transcriber.model.config.llm;
    const prompt = 3 + clip.frames;
    const grows = [64, 96, 160].map((position) => position - prompt);
    const steps = tokens.slice(1, -1);
    expect(steps.map(({ pipelines, submits }) => [pipelines, submits])).toEqual(steps.map(() => [0, 1]));
    expect(steps.map(({ bindGroups }) => bindGroups)).toEqual(
      steps.map((_, i) => (grows.includes(i + 1) ? 2 * layers : 0)),
    );
  });

  it("makes no pipeline for a second clip of another length", async () => {
    await countTokens([clips[1]], 3);
    const counts = await countTokens([clips[4]], 3);
    expect(counts.map(({ pipelines }) => pipelines)).toEqual([0, 0, 0]);
  });
});
