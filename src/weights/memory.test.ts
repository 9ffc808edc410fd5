import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { restfulWait, useGpu } from "../../test/gpu.js";
import { noiseClip, tinyModel } from "../../test/helpers/tiny-model.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { generation, transcription } from "../decode/clip-work.js";
import { Transcriber } from "../decode/transcriber.js";
import { countedDevice, countingGpu } from "../gpu/counting.js";
import { GpuError } from "../gpu/errors.js";
import { Gpu } from "../gpu/device.js";
import { loadFunAsrNano } from "../model/fun-asr-nano.js";
import { type MemoryNeed, type MemoryUse, OutOfMemoryError } from "./memory.js";
import type { WeightFormat } from "./loader.js";

const gpu = useGpu();
let checkpoint: Checkpoint;
beforeAll(async () => {
  checkpoint = await openCheckpoint(await tinyModel({ tied: false }));
});
afterAll(() => checkpoint.close());

const counted = (weights?: WeightFormat, device = new Gpu(gpu().device)): Promise<MemoryNeed> =>
  transcription(checkpoint.config, checkpoint).count(countingGpu(countedDevice(device)), weights);
const need = async (weights?: WeightFormat): Promise<number> => {
  const { weights: bytes, working } = await counted(weights);
  return bytes + working;
};

/** Bytes of an engine without a model on the device. */
const empty = (): number => new Gpu(gpu().device).bytes.reserved;

/** The error of a load and its reads. The load must leave nothing on the device. */
async function refused(device: Gpu, weights?: WeightFormat): Promise<{ message: string; reads: number }> {
  const before = device.bytes.reserved;
  let reads = 0;
  const source = {
    ...checkpoint,
    read: (...range: Parameters<Checkpoint["read"]>) => {
      reads++;
      return checkpoint.read(...range);
    },
  };
  const use = transcription(checkpoint.config, checkpoint);
  const error: unknown = await loadFunAsrNano(device, checkpoint.config, source, { weights, use }).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(OutOfMemoryError);
  expect(error).toBeInstanceOf(GpuError);
  expect(device.bytes).toMatchObject({ kept: 0, live: 0, reserved: before });
  const { message } = error as Error;
  expect(message).not.toMatch(/[\r\n]/);
  return { message, reads };
}

// Plan: counted bytes equal the device's: of the weights in every format, exactly; of a clip of 30
// s at its peak, within 3 %. A shorter context needs less.
describe("counted bytes", () => {
  test.each<[WeightFormat | undefined]>([[undefined], ["f32"], ["bf16"], ["f16"], ["q8"], ["q4"]])(
    "weights as %s",
    async (weights) => {
      const model = await loadFunAsrNano(gpu(), checkpoint.config, checkpoint, { weights });
      expect((await counted(weights)).weights).toBe(gpu().bytes.kept);
      model.free();
    },
  );

  test("a clip of 30 s", async () => {
    const { device, subgroupSize } = gpu();
    const fresh = new Gpu(device, { subgroupSize, wait: restfulWait });
    const transcriber = await Transcriber.load(fresh, await tinyModel({ tied: false }));
    const clip = transcriber.prepare(noiseClip(30, 1), "clip");
    expect(clip.frames).toBe(500);
    const text = transcriber.promptTokens([clip], {})[0].ids.length - 500;
    expect(text).toBeLessThan(64);
    const ended = new AbortController();
    const onText = (): void => ended.abort();
    await transcriber.transcribe([clip], { onText, signal: ended.signal }).catch(() => undefined);
    const { weights, working } = await counted(undefined, fresh);
    const measured = fresh.bytes.peak - empty() - weights;
    expect(measured / working).toBeGreaterThan(0.97);
    expect(measured / working).toBeLessThan(1.03);
    transcriber.free();
    fresh.trim();
  });

  test.each([1, 2, 66, 300])(
    "a context of %d tokens: less room for a clip or a prompt",
    async (maxPositions) => {
      const config = { ...checkpoint.config, llm: { ...checkpoint.config.llm, maxPositions } };
      const uses = (c: typeof config): MemoryUse[] => [
        transcription(c, checkpoint),
        generation(c.llm, checkpoint),
      ];
      for (const [i, use] of uses(config).entries()) {
        const { weights, working } = await use.count(countingGpu(), "bf16");
        const full = await uses(checkpoint.config)[i].count(countingGpu(), "bf16");
        expect(weights).toBe(full.weights);
        expect(working).toBeGreaterThan(0);
        expect(working).toBeLessThan(full.working);
      }
    },
  );
});

// Plan: a limit below the need is refused before a byte is read, and the error lists the formats
// that fit. A refused buffer gives the same error. Both free everything, and the device still
// works.
describe("out of device memory", () => {
  test.each<[WeightFormat | undefined, () => Promise<number>, RegExp]>([
    [
      undefined,
      () => need("q8"),
      /as stored the model needs .*; these --weights would fit: q8 \(.*\), q4 \(/,
    ],
    [
      "f32",
      () => need("bf16"),
      /as f32 the model needs .*; these --weights would fit: bf16 \(.*\), f16 \(.*\), q8 \(/,
    ],
    [
      "bf16",
      () => Promise.resolve(1000),
      /; no --weights fit, the smallest being q4 \(.*\); take a smaller model or a device with more memory$/,
    ],
    [
      "q4",
      async () => (await need("q4")) - 1,
      /; no --weights are smaller; take a smaller model or a device with more memory$/,
    ],
  ])("%s over its limit", async (weights, room, advice) => {
    const { device } = gpu();
    const limited = new Gpu(device, { memoryLimit: empty() + (await room()) });
    const { message, reads } = await refused(limited, weights);
    expect(message).toMatch(advice);
    expect(message).toMatch(
      /^tiny: out of device memory: .* needs [\d.]+ MB \([\d.]+ [kM]B of weights, [\d.]+ MB to work on 30 s of audio\), [\d.]+ [kM]B are left; /,
    );
    expect(reads).toBe(0);
  });

  test("a limit equal to the need is enough", async () => {
    const limited = new Gpu(gpu().device, { memoryLimit: empty() + (await need("q8")) });
    const model = await loadFunAsrNano(limited, checkpoint.config, checkpoint, {
      weights: "q8",
      use: transcription(checkpoint.config, checkpoint),
    });
    model.free();
  });

  test("the device refuses a buffer", async () => {
    const device = refusing(gpu().device, 20);
    const { message, reads } = await refused(new Gpu(device), "f32");
    expect(message).toMatch(
      /^tiny: out of device memory: as f32 the model needs .*, a buffer of [\d.]+ k?B was refused beside [\d.]+ [kM]B; /,
    );
    expect(reads).toBe(0);
  });

  test("a step over the limit fails with the bytes, and the next one runs", async () => {
    const limited = new Gpu(gpu().device, { memoryLimit: empty() + 5000 });
    const step = (count: number): Promise<unknown> => limited.step(() => [limited.empty([count])]);
    await expect(step(2000)).rejects.toThrow(
      /^out of device memory: expected room for 8192 bytes beside \d+, got none \(the limit is \d+ bytes\); use shorter clips/,
    );
    expect(limited.bytes.live).toBe(0);
    await step(100);
  });
});

/** A device that grants so many buffers and refuses the next one as the standard says. */
function refusing(device: GPUDevice, buffers: number): GPUDevice {
  let made = 0;
  return new Proxy(device, {
    get(target, key) {
      if (key === "createBuffer") {
        return (descriptor: GPUBufferDescriptor) => {
          if (made++ < buffers) return target.createBuffer(descriptor);
          refusedOne = true;
          return target.createBuffer({ ...descriptor, size: 4 });
        };
      }
      if (key === "popErrorScope") {
        return async () => {
          const refusal = refusedOne;
          refusedOne = false;
          const error = await target.popErrorScope();
          return refusal ? { message: "Failed to allocate memory" } : error;
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

let refusedOne = false;
