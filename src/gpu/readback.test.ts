import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { bufferUsage, Pool } from "./memory.js";
import { GpuError } from "./errors.js";
import { type Readback, type TensorData, beginMapping, copyOut, DeviceLoss, handOver } from "./readback.js";
import type { Tensor } from "./tensor.js";

// What a step's readers get where a check, the mapping, or both fail, with buffers that only
// pretend; then, on the device, that what is wrong with the asking is the step's to report.
const gpu = useGpu();

/** A pool whose buffers map as given, and one reader of a buffer from it. */
function setup(mapAsync: () => Promise<undefined>): {
  readonly reads: Readback[];
  readonly pool: Pool;
  readonly data: Promise<TensorData>;
} {
  const buffer = { mapAsync, getMappedRange: () => new ArrayBuffer(8), unmap: () => undefined };
  const pool = new Pool(
    (bytes) => ({ id: 1, buffer: buffer as unknown as GPUBuffer, bytes }),
    () => undefined,
  );
  const commands = { copyBufferToBuffer: () => undefined } as unknown as GPUCommandEncoder;
  const allocation = { id: 0, buffer: buffer as unknown as GPUBuffer, bytes: 8 };
  const tensor: Tensor = { shape: [2], dtype: "f32", bytes: 8, allocation };
  const reads: Readback[] = [];
  const data = copyOut(tensor, pool, commands, reads);
  return { reads, pool, data };
}

const mapped = (): Promise<undefined> => Promise.resolve(undefined);
const rejected = (): Promise<undefined> => Promise.reject(new Error("not mapped"));
const thrown = (): never => {
  throw new Error("not mapped");
};
const fine = Promise.resolve();
const working = new DeviceLoss({ lost: new Promise(() => undefined) } as unknown as GPUDevice); // never lost

describe("readers get", () => {
  test.each<[string, { map?: () => Promise<undefined>; refusal?: string; failure?: string; error?: string }]>(
    [
      ["the data", {}],
      ["a mapping that rejects", { map: rejected, error: "the device failed: not mapped" }],
      ["a mapping that throws at once", { map: thrown, error: "the device failed: not mapped" }],
      ["a refusal", { refusal: "refused", error: "refused" }],
      [
        "a refusal before the mapping that it spoils",
        { map: rejected, refusal: "refused", error: "refused" },
      ],
      ["the same before one that throws", { map: thrown, refusal: "refused", error: "refused" }],
      ["what failed on the host before all", { map: rejected, refusal: "refused", failure: "host", error: "host" }], // prettier-ignore
    ],
  )("%s", async (_, { map = mapped, refusal, failure, error }) => {
    const { reads, pool, data } = setup(map);
    // the refusal comes when the mapping has failed already
    const late = new Promise<void>((resolve) => setTimeout(resolve, 1));
    const check = late.then(() => {
      if (refusal !== undefined) throw new GpuError(refusal);
    });
    const outcome = {
      failure: failure === undefined ? undefined : { error: new GpuError(failure) },
      checks: [fine, check],
      mapped: beginMapping(reads, working),
    };
    const handed = handOver(reads, pool, outcome);
    if (error === undefined) {
      await handed;
      expect(await data).toEqual(new Float32Array(2));
      expect(pool.reservedBytes).toBeGreaterThan(0);
    } else {
      await expect(handed).rejects.toThrow(error);
      await expect(data).rejects.toThrow(error);
      expect(pool.reservedBytes).toBe(0); // not to be used again
    }
    expect(pool.liveBytes).toBe(0);
  });
});

test("a copy that cannot be mapped is the step's error, not the device's", async () => {
  const { device } = gpu();
  const strays: string[] = [];
  const stray = ({ error }: GPUUncapturedErrorEvent): void => void strays.push(error.message);
  device.addEventListener("uncapturederror", stray);
  const create = device.createBuffer.bind(device);
  let staging: GPUBuffer | undefined;
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    if (descriptor.usage & bufferUsage.mapRead) staging = buffer;
    return buffer;
  };
  try {
    const step = gpu().step(() => {
      void gpu().read(gpu().upload(new Float32Array(1000), [1000]));
      staging!.destroy();
      return [];
    });
    await expect(step).rejects.toThrow(GpuError);
    await gpu().finish();
    expect(strays).toEqual([]);
    expect(gpu().bytes.live).toBe(0);
  } finally {
    device.createBuffer = create;
    device.removeEventListener("uncapturederror", stray);
  }
});
