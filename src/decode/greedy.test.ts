import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { noiseClip, tinyModel } from "../../test/helpers/tiny-model.js";
import { FunasrError } from "../errors.js";
import { GpuError } from "../gpu/errors.js";
import type { Tensor } from "../gpu/tensor.js";
import { type FunAsrNano, type PromptTokens, adapt, encode } from "../model/fun-asr-nano.js";
import { type GreedyOptions, greedy, penalisedPicker } from "./greedy.js";
import { DecodeError, type Decoded } from "./loop.js";
import { type PreparedClip, Transcriber } from "./transcriber.js";

const gpu = useGpu();
let transcriber: Transcriber;
let clips: PreparedClip[];
let idle: number;

beforeAll(async () => {
  transcriber = await Transcriber.load(gpu(), await tinyModel({ seed: 5 }));
  clips = [0.3, 0.8].map((seconds, i) => transcriber.prepare(noiseClip(seconds, i), `${i}`));
  idle = gpu().bytes.kept;
});
afterAll(() => transcriber.free());

const promptOf = ({ frames }: PreparedClip): PromptTokens => ({
  ids: [1033, 20, ...new Array<number>(frames).fill(1035), 1034, 3],
  audioOffset: 2,
  audioLength: frames,
});

async function embed(model: FunAsrNano, chosen: readonly PreparedClip[]): Promise<Tensor> {
  const frames = chosen.map((clip) => clip.frames);
  const features = Float32Array.from(chosen.flatMap((clip) => [...clip.features]));
  let audio: Tensor;
  await gpu().step(() => {
    audio = gpu().hold(adapt(gpu(), model, encode(gpu(), model, { features, frames }), frames));
    return [];
  });
  return audio!;
}

/** Decodes clips; checks that nothing of it stays on the GPU, whatever happens. */
async function decode(
  options: Partial<GreedyOptions> & { readonly limits: readonly number[] },
  { model }: Transcriber = transcriber,
): Promise<Decoded[]> {
  const chosen = clips.slice(0, options.limits.length);
  const kept = gpu().bytes.kept;
  const audio = await embed(model, chosen);
  try {
    return await greedy(gpu(), model, chosen.map(promptOf), audio, {
      stopIds: new Set(),
      maxNewTokens: options.limits,
      guardLoops: false,
      ...options,
    });
  } finally {
    gpu().release(audio);
    expect(gpu().bytes).toMatchObject({ kept, live: 0 });
  }
}

// Plan: each way to end, at the token where it should; sequences of a batch end each by itself.
describe("how decoding ends", () => {
  it("after the tokens that were asked for", async () => {
    const [long] = await decode({ limits: [12] });
    expect(long).toMatchObject({ finish: "length" });
    expect(long.tokenIds).toHaveLength(12);
    const [one] = await decode({ limits: [1] });
    expect(one).toEqual({ tokenIds: long.tokenIds.slice(0, 1), finish: "length" });
  });

  // The step of the next token runs while the host sees that a token was the last, but not where
  // the number was known.
  it("after as many steps as tokens, and one more at a stop token", async () => {
    const [{ tokenIds }] = await decode({ limits: [20] });
    const stopIds = new Set([tokenIds[9]]);
    const stoppedAt = tokenIds.indexOf(tokenIds[9]);
    for (const [options, steps] of [
      [{ limits: [12] }, 12],
      [{ limits: [1] }, 1],
      [{ limits: [20], stopIds }, stoppedAt + 2],
      [{ limits: [stoppedAt + 1], stopIds }, stoppedAt + 1],
      [{ limits: [3, 12] }, 12],
    ] as const) {
      const { submits } = gpu().counts;
      await decode(options);
      expect(gpu().counts.submits - submits).toBe(1 + steps); // encoder and adaptor
    }
  });

  it("at a stop token, which is left out", async () => {
    const [{ tokenIds }] = await decode({ limits: [20] });
    const stop = tokenIds[9];
    const [stopped] = await decode({ limits: [20], stopIds: new Set([stop]) });
    expect(stopped).toEqual({ tokenIds: tokenIds.slice(0, tokenIds.indexOf(stop)), finish: "stop" });
  });

  it("at a stop token that comes first, with nothing", async () => {
    const [{ tokenIds }] = await decode({ limits: [1] });
    const seen: number[] = [];
    const [stopped] = await decode({
      limits: [20],
      stopIds: new Set(tokenIds),
      onToken: (_, id) => seen.push(id),
    });
    expect(stopped).toEqual({ tokenIds: [], finish: "stop" });
    expect(seen).toEqual([]);
  });

  it("each sequence of a batch by itself", async () => {
    const [a, b] = await decode({ limits: [15, 15] });
    const seen: number[][] = [[], []];
    const results = await decode({
      limits: [4, 15],
      onToken: (sequence, id) => seen[sequence].push(id),
    });
    expect(results).toEqual([
      { tokenIds: a.tokenIds.slice(0, 4), finish: "length" },
      { tokenIds: b.tokenIds, finish: "length" },
    ]);
    expect(seen).toEqual([a.tokenIds.slice(0, 4), b.tokenIds]);
  });

  // The pool has room for 32 tokens each: it grows for the longer answers. In the second run the page
  // of the first sequence is free when the second one needs its third.
  it("with the same tokens where the KV cache grows, and where pages go from one sequence to another", async () => {
    const made = async (options: Parameters<typeof decode>[0]): Promise<[Decoded[], number]> => {
      const { bindGroups } = gpu().counts;
      const decoded = await decode(options);
      return [decoded, gpu().counts.bindGroups - bindGroups];
    };
    await made({ limits: [50, 60] }); // the first run makes the bind groups of everything else
    const [whole, usual] = await made({ limits: [50, 60] });
    const [grown, more] = await made({ limits: [50, 60], usualTokens: [1, 1] });
    expect(grown).toEqual(whole);
    expect(more).toBeGreaterThan(usual);
    const [early, least] = await made({ limits: [2, 60], usualTokens: [2, 20] });
    expect(early).toEqual([{ tokenIds: whole[0].tokenIds.slice(0, 2), finish: "length" }, whole[1]]);
    expect(least).toBe(usual);
  });

  it("at a repeating cycle, of which one turn stays", async () => {
    const looping = await Transcriber.load(gpu(), await tinyModel({ seed: 7 }));
    const clip = looping.prepare(noiseClip(1.1, 5), "looping");
    const options = { maxNewTokens: 80, language: "en" } as const;
    const [result] = await looping.transcribe([clip], options);
    expect(result.finish).toBe("loop");
    expect(result.tokenIds.length).toBeLessThan(80 - 24);
    expect(result.tokenIds.length).toBeGreaterThan(0);
    looping.free();
  });
});

// Plan: a penalty ends a loop, means the same in a batch, and costs nothing where it is 1.
describe("repetition penalty", () => {
  it("keeps a looping clip from its loop, alone and in a batch", async () => {
    const looping = await Transcriber.load(gpu(), await tinyModel({ seed: 7 }));
    const loop = looping.prepare(noiseClip(1.1, 5), "looping");
    const other = looping.prepare(noiseClip(0.6, 2), "other");
    const options = { maxNewTokens: 80, language: "en", repetitionPenalty: 1.5 } as const;
    const [alone] = await looping.transcribe([loop], options);
    expect(alone.finish).not.toBe("loop");
    expect(new Set(alone.tokenIds).size).toBeGreaterThan(alone.tokenIds.length / 2);
    const [, together] = await looping.transcribe([other, loop], options);
    expect(together).toMatchObject({ tokenIds: alone.tokenIds, finish: alone.finish });
    looping.free();
  });

  it("the scores of the answer's tokens are lowered, those of the prompt's are not", () => {
    const ids = gpu().keep([2], "u32");
    const picker = penalisedPicker(gpu(), 2, 2);
    const scores = Float32Array.of(...[0, 3, 2, 1], ...[-4, -2, -3, -5]);
    const picks = [0, 1, 2].map(() => [...(picker.pick(scores, ids, [true, true]) as Uint32Array)]);
    // Scores of 1 and 2: 3 and 2, 1.5 and 2, 1.5 and 1; -2 and -3, -4 and -3, -4 and -6, where 0 has -4.
    expect(picks).toEqual([[1, 1], [2, 2], [1, 0]]); // prettier-ignore
    gpu().free(ids);
  });

  it("1 is the likeliest token, found on the GPU", async () => {
    const run = async (repetitionPenalty?: number): Promise<unknown> => {
      const { dispatches, submits } = gpu().counts;
      const decoded = await decode({ limits: [9, 9], repetitionPenalty });
      return [decoded, gpu().counts.dispatches - dispatches, gpu().counts.submits - submits];
    };
    expect(await run(1)).toEqual(await run());
  });
});

// Plan: what is called, how often, with what; what it throws comes out and leaves no GPU memory
// behind.
describe("callbacks", () => {
  it("onPrefill comes once, before the first token", async () => {
    const calls: string[] = [];
    await decode({
      limits: [3],
      onPrefill: () => calls.push("prefill"),
      onToken: (_, id) => calls.push(String(id)),
    });
    expect(calls).toHaveLength(4);
    expect(calls.indexOf("prefill")).toBe(0);
  });

  it.each([0, 3])("an exception at token %i comes out", async (at) => {
    let count = 0;
    const onToken = (): void => {
      if (count++ === at) throw new RangeError("enough");
    };
    await expect(decode({ limits: [9], onToken })).rejects.toThrow(new RangeError("enough"));
    expect(count).toBe(at + 1);
  });

  it.each([
    ["length", 5, 17],
    ["length", 6, 33],
    ["loop", 7, 80],
  ])("onText adds up to the text: %s, seed %i, %i tokens", async (finish, seed, maxNewTokens) => {
    const loaded = await Transcriber.load(gpu(), await tinyModel({ seed }));
    const clip = loaded.prepare(noiseClip(1.1, 5), "clip");
    const pieces: string[] = [];
    const [result] = await loaded.transcribe([clip], {
      language: "en",
      maxNewTokens,
      onText: (_, text) => pieces.push(text),
    });
    loaded.free();
    expect(result.finish).toBe(finish);
    expect(pieces.every((piece) => piece !== "")).toBe(true);
    expect(pieces.length).toBeGreaterThan(1);
    const streamed = pieces.join("").trim();
    if (finish === "loop") expect(streamed.startsWith(result.text)).toBe(true);
    else expect(streamed).toBe(result.text);
  });

  it("an exception of onText leaves no GPU memory behind", async () => {
    const onText = (): void => {
      throw new RangeError("enough");
    };
    await expect(transcriber.transcribe(clips, { onText, maxNewTokens: 30 })).rejects.toThrow("enough");
    expect(gpu().bytes).toMatchObject({ kept: idle, live: 0 });
    const [after] = await transcriber.transcribe([clips[0]], { maxNewTokens: 2 });
    expect(after.tokenIds).toHaveLength(2);
  });
});

/** The one-line error of a call that must fail, with the GPU's memory as it was. */
async function failure(action: Promise<unknown>): Promise<FunasrError> {
  const error: unknown = await action.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(FunasrError);
  expect((error as FunasrError).message).not.toMatch(/[\r\n]/);
  expect(gpu().bytes.live).toBe(0);
  return error as FunasrError;
}

// Plan: scores that are no numbers, prompts past the context, options that cannot be: one line
// each, nothing left on the GPU.
describe("refusals", () => {
  it.each([
    ["model.language_model.norm.weight", 0],
    ["model.audio_tower.layers.3.mlp.fc1.bias", 0],
  ])("NaN in %s", async (name, token) => {
    const files = await tinyModel({
      seed: 5,
      edit: (tensors) =>
        tensors.map((t) => (t.name === name ? { ...t, data: new Uint8Array(2 * t.shape[0]).fill(0xff) } : t)),
    });
    const damaged = await Transcriber.load(gpu(), files);
    const kept = gpu().bytes.kept;
    const error = await failure(damaged.transcribe([clips[0]]));
    expect(error).toBeInstanceOf(DecodeError);
    expect(error.message).toMatch(new RegExp(`^decode: token ${token}: expected finite scores, got NaN`));
    expect(gpu().bytes.kept).toBe(kept);
    damaged.free();
  });

  it("more tokens than the model has positions for", async () => {
    const error = await failure(decode({ limits: [2048] }));
    expect(error.message).toMatch(/^a sequence of \d+ tokens passes the model's 2048 positions$/);
    expect(gpu().bytes.kept).toBe(idle);
  });

  it.each([
    ["a language that is none", { language: "fr" as "en" }],
    ["a hotword that is a token of the vocabulary", { hotwords: ["<|im_end|>"] }],
    ["blank context", { context: "  " }],
    ["a repetition penalty of 0", { repetitionPenalty: 0 }],
  ])("%s, before any work on the GPU", async (_, options) => {
    const before = gpu().counts;
    await failure(transcriber.transcribe([clips[0]], options));
    expect(gpu().counts).toEqual(before);
    expect(gpu().bytes.kept).toBe(idle);
  });

  it("audio rows that do not fill the slots", async () => {
    const audio = await embed(transcriber.model, [clips[0]]);
    const wrong = { ...promptOf(clips[0]), audioLength: clips[0].frames - 1 };
    const options = { stopIds: new Set<number>(), maxNewTokens: [2] };
    const failed = greedy(gpu(), transcriber.model, [wrong], audio, options).finally(() =>
      gpu().release(audio),
    );
    expect((await failure(failed)).message).toBe("prompt: audio slots must hold 5 tokens, got 4");
    expect(gpu().bytes.kept).toBe(idle);
  });

  it("gives everything back where the memory for the cache is not there", async () => {
    const keep = gpu().keep.bind(gpu());
    let calls = 0;
    const spy = vi.spyOn(gpu(), "keep").mockImplementation((shape, dtype) => {
      if (++calls === 4) throw new GpuError("no memory");
      return keep(shape, dtype);
    });
    await expect(decode({ limits: [4, 4] })).rejects.toThrow("no memory"); // checks what is kept
    spy.mockRestore();
  });
});
