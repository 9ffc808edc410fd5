import { afterAll, beforeAll, expect } from "vitest";
import { Gpu } from "../src/gpu/device.js";
import type { Tensor } from "../src/gpu/tensor.js";
import { type Matrix, keepMatrix, writeMatrix } from "../src/gpu/matrix.js";
import { fromFloat32 } from "../src/formats/dtypes.js";
import { type DeviceOptions, type OpenedDevice, openDevice } from "../src/node/device.js";
import { restfulWait } from "../src/node/wait.js";
import { emulateSubgroups } from "./helpers/emulated-subgroups.js";

/**
 * A device like the adapter's whose subgroups have so many lanes, by emulation: see
 * `emulateSubgroups`.
 */
export async function openEmulated(lanes: number, options: DeviceOptions = {}): Promise<OpenedDevice> {
  const opened = await openDevice({ ...options, subgroups: false });
  const { device, memoryLimit, tuning } = opened.gpu;
  const create = device.createShaderModule.bind(device);
  device.createShaderModule = (module) => create({ ...module, code: emulateSubgroups(module.code) });
  const wait = opened.software ? restfulWait : undefined;
  const gpu = new Gpu(device, { memoryLimit, wait, tuning, subgroupSize: lanes });
  return { ...opened, gpu };
}

/** Lanes that `npm run check:lanes` gives to the subgroups of every test; undefined: the device's. */
export const emulatedLanes = Number(process.env.FUNASR_WEBGPU_EMULATED_LANES) || undefined;

/**
 * Opens a device for the tests of this file and prints its adapter; without an adapter they fail.
 */
export function useGpu(options: DeviceOptions = {}): () => Gpu {
  let gpu: Gpu | undefined;
  beforeAll(async () => {
    const emulated = options.subgroups === false ? undefined : emulatedLanes;
    const opened = emulated ? await openEmulated(emulated, options) : await openDevice(options);
    gpu = opened.gpu;
    const name = opened.adapter.description || opened.adapter.device;
    process.stderr.write(`adapter: ${name}${emulated ? `, emulated subgroups of ${emulated}` : ""}\n`);
  });
  afterAll(() => gpu?.destroy());
  return () => gpu!;
}

/** Seeded uniform values in [-1, 1) (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

/** [count] f32 values around an offset. */
export function values(count: number, seed: number, offset = 0): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => next() + offset);
}

/** Uploads and kept tensors for one op call: runs it in a step and reads its result. */
export async function runOp(gpu: Gpu, op: () => Tensor): Promise<Float32Array> {
  const [result] = await gpu.step(() => [op()]);
  return result as Float32Array;
}

/**
 * A kept weight matrix with these values, rounded to the storage type; returns the rounded values
 * too.
 */
export function keepWeights(
  gpu: Gpu,
  data: Float32Array,
  [rows, columns]: readonly [number, number],
  dtype: "f32" | "bf16" | "f16",
): Matrix {
  const matrix = keepMatrix(gpu, rows, columns, dtype);
  writeMatrix(
    gpu,
    matrix,
    fromFloat32(data, dtype.toUpperCase() as "F32" | "F16" | "BF16") as Uint8Array<ArrayBuffer>,
  );
  return matrix;
}

/** Relative RMS difference of two arrays; NaN where either holds one. */
export function relativeRms(got: ArrayLike<number>, want: ArrayLike<number>): number {
  expect(got.length).toBe(want.length);
  let error = 0;
  let norm = 0;
  for (let i = 0; i < want.length; i++) {
    error += (got[i] - want[i]) ** 2;
    norm += want[i] ** 2;
  }
  return Math.sqrt(error / Math.max(norm, Number.MIN_VALUE));
}

/** Fails unless the relative RMS difference is below the bound; NaN fails. */
export function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, bound: number): void {
  expect(relativeRms(got, want)).toBeLessThan(bound);
}

/**
 * Makes the engine believe that the device has these limits: WebGPU raises what is asked below its
 * defaults (128 MiB a binding, 256 MiB a buffer) to them, which is too much for a test.
 */
export function lowerLimits(
  gpu: Gpu,
  limits: { maxStorageBufferBindingSize: number; maxBufferSize: number },
): void {
  Object.defineProperty(gpu.device, "limits", { value: limits });
}

export { restfulWait };
