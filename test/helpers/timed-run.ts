import type { Tensor } from "../../src/gpu/tensor.js";
import type { TimedDispatch, TimedRun } from "../../src/gpu/timing.js";
import { loadKernel } from "../../src/gpu/kernel.js";
import "../../src/kernels/add/add.js"; // which declares the cost of the kernel

const tensor = (id: number): Tensor => ({
  shape: [1000],
  dtype: "f32",
  bytes: 4000,
  allocation: { id, buffer: {} as GPUBuffer, bytes: 4096 },
});

/**
 * An addition of 1,000 elements, between two moments in milliseconds of a device whose clock is
 * 1,000 ms ahead.
 */
function addition(submit: number, begin: number, end: number): TimedDispatch {
  return {
    kernel: loadKernel("add/add"),
    dispatch: { params: { count: 1000 }, tensors: { a: tensor(1), b: tensor(2), y: tensor(3) }, groups: 16 },
    contents: {},
    submit,
    label: "prefill",
    program: submit > 0,
    begin: BigInt((1000 + begin) * 1e6),
    end: BigInt((1000 + end) * 1e6),
  };
}

/** Two command buffers of a run from 0 to 20 ms, by hand. */
export const run: TimedRun = {
  dispatches: [addition(0, 4, 6), addition(0, 7, 8), addition(1, 12, 14)],
  submits: [4, 11],
  host: [
    { work: "bind groups", start: 2, end: 3 },
    { work: "encode", start: 1, end: 3.5 },
    { work: "submit", start: 3.5, end: 4 },
    { work: "wait", start: 4, end: 14.5 },
    { work: "wait", start: 9, end: 17 },
    { work: "read", start: 14.5, end: 15 },
    { work: "encode", start: 8.5, end: 9 },
  ],
};
