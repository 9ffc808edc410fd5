import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { noiseClip, tinyModel } from "../../test/helpers/tiny-model.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { Transcriber } from "../decode/transcriber.js";
import { GpuError } from "../gpu/errors.js";
import { Gpu } from "../gpu/device.js";
import { openDevice } from "../node/device.js";
import { loadFunAsrNano } from "../model/fun-asr-nano.js";
import { OutOfMemoryError, memoryNeed } from "./memory.js";
import type { WeightFormat } from "./loader.js";

const gpu = useGpu();
let checkpoint: Checkpoint;
beforeAll(async () => {
  checkpoint = await openCheckpoint(await tinyModel({ tied: false }));
});
afterAll(() => checkpoint.close());

const need = (weights?: WeightFormat): number => {
  const { weights: bytes, working } = memoryNeed(checkpoint, checkpoint.config, weights);
  return bytes + working;
};

/** Bytes that an engine without a model has on the device. */
const empty = (): number => new Gpu(gpu().device).bytes.reserved;

/** The error of a load, which must leave nothing on the device; how many pieces were read before it. */
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
  const error: unknown = await loadFunAsrNano(device, checkpoint.config, source, { weights }).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(OutOfMemoryError);
  expect(error).toBeInstanceOf(GpuError);
  expect(device.bytes).toEqual({ kept: 0, live: 0, reserved: before });
  const { message } = error as Error;
  expect(message).not.toMatch(/[\r\n]/);
  return { message, reads };
}

// Plan: the bytes of the weights are those that a load keeps, in every format; the working space holds what a clip of 30 s takes.
describe("memoryNeed", () => {
  test.each<[WeightFormat | undefined]>([[undefined], ["f32"], ["bf16"], ["f16"], ["q8"], ["q4"]])(
    "weights as %s",
    async (weights) => {
      const model = await loadFunAsrNano(gpu(), checkpoint.config, checkpoint, { weights });
      expect(memoryNeed(checkpoint, checkpoint.config, weights).weights).toBe(gpu().bytes.kept);
      model.free();
    },
  );

  test("a clip of 30 s takes no more than the working space, and no less than a third of it", async () => {
    const { gpu: device } = await openDevice();
    try {
      const transcriber = await Transcriber.load(device, await tinyModel({ tied: false }));
      const { kept, reserved } = device.bytes;
      const clip = transcriber.prepare(noiseClip(30, 1), "clip");
      let most = 0;
      const note = (): void => void (most = Math.max(most, device.bytes.reserved));
      await transcriber.transcribe([clip], { maxNewTokens: 2, onText: note, onStage: note });
      const { llm } = checkpoint.config;
      const unmade = 8 * llm.layers * llm.kvHeads * llm.headDim * (500 + 32 - 2); // KV cache of the answer that was cut short
      const { working } = memoryNeed(checkpoint, checkpoint.config);
      expect(kept).toBeGreaterThan(0);
      expect(most - reserved + unmade).toBeLessThanOrEqual(working);
      expect(most - reserved + unmade).toBeGreaterThan(working / 3);
    } finally {
      device.destroy();
    }
  });
});

// Plan: a limit below the need is refused before a byte is read, with the formats that have room; a device that refuses a buffer in the
// middle is reported in the same way; both give everything back, and the device works on.
describe("out of device memory", () => {
  test.each<[WeightFormat | undefined, () => number, RegExp]>([
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
      () => 1000,
      /; no --weights fit, the smallest being q4 \(.*\); take a smaller model or a device with more memory$/,
    ],
    [
      "q4",
      () => need("q4") - 1,
      /; no --weights are smaller; take a smaller model or a device with more memory$/,
    ],
  ])("%s over its limit", async (weights, room, advice) => {
    const { device } = gpu();
    const limited = new Gpu(device, { memoryLimit: empty() + room() });
    const { message, reads } = await refused(limited, weights);
    expect(message).toMatch(advice);
    expect(message).toMatch(
      /^tiny: out of device memory: .* needs [\d.]+ MB \([\d.]+ [kM]B of weights, [\d.]+ MB to work on 30 s of audio\), [\d.]+ [kM]B are left; /,
    );
    expect(reads).toBe(0);
  });

  test("the need itself fits", async () => {
    const limited = new Gpu(gpu().device, { memoryLimit: empty() + need("q8") });
    const model = await loadFunAsrNano(limited, checkpoint.config, checkpoint, { weights: "q8" });
    model.free();
  });

  test("the device refuses a buffer", async () => {
    const device = refusing(gpu().device, 20);
    const { message, reads } = await refused(new Gpu(device), "f32");
    expect(message).toMatch(
      /^tiny: out of device memory: as f32 the model needs .*, a buffer of [\d.]+ k?B(ytes)? was refused beside [\d.]+ [kM]B; /,
    );
    expect(reads).toBe(0);
  });

  test("a step over the limit names the bytes, and the next one runs", async () => {
    const limited = new Gpu(gpu().device, { memoryLimit: empty() + 5000 });
    const step = (count: number): Promise<unknown> => limited.step(() => [limited.empty([count])]);
    await expect(step(2000)).rejects.toThrow(
      /^out of device memory: expected room for 8192 bytes beside \d+, got none \(the limit is \d+ bytes\); use shorter clips/,
    );
    expect(limited.bytes.live).toBe(0);
    await step(100);
  });
});

/** The device as it would be with room for so many more buffers: the next is answered as the standard says. */
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
