import type { Gpu } from "../../gpu/device.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { copyRowsBackward, takeRowsBackward } from "./copy-rows-backward.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("copy-rows/copy-rows", ({ count, width }) => ({
  flops: 0,
  bytes: 8 * count * (width + 1),
}));
const threads = 64;

/**
 * into[pairs[i][1]] = source[pairs[i][0]] for every pair; other rows of `into` stay. Target rows
 * must differ.
 * @param source  [source rows, width] f32
 * @param pairs   [count, 2] u32, source row and target row; callers keep them in range
 * @param into    [target rows, width] f32, written in place
 * @source torch.Tensor.index_copy_
 */
export function copyRows(gpu: Gpu, source: Tensor, pairs: Tensor, into: Tensor): void {
  const [, width] = expectMatrix("copyRows", { source });
  expectShape("copyRows", { into }, [into.shape[0], width]);
  expectShape("copyRows", { pairs }, [pairs.shape[0], 2]);
  expectDType("copyRows", { source, into }, "f32");
  expectDType("copyRows", { pairs }, "u32");
  const count = pairs.shape[0];
  gpu.run(kernel, {
    params: { count, width },
    tensors: { source, pairs, into },
    groups: Math.ceil((count * width) / threads),
    overrides: { WG: threads },
  });
}

/**
 * The rows of x with these indices, in this order.
 * @param x        [rows, width] f32
 * @param indices  row numbers of x
 * @returns        [indices, width] f32
 * @source torch.Tensor.index_select
 */
export function takeRows(gpu: Gpu, x: Tensor, indices: readonly number[]): Tensor {
  const [, width] = expectMatrix("takeRows", { x });
  const pairs = gpu.upload(new Uint32Array(indices.flatMap((row, i) => [row, i])), [indices.length, 2]);
  const y = gpu.empty([indices.length, width]);
  copyRows(gpu, x, pairs, y);
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [x],
    saved: [],
    backward: (dy) => tape.add(x, takeRowsBackward(gpu, dy, indices, x.shape[0])),
  });
  return y;
}

/**
 * `copyRows` that a gradient passes: it flows to `source`, not to what stood in the rows of `into`
 * before.
 * @param pairs  source row and target row
 */
export function spliceRows(
  gpu: Gpu,
  source: Tensor,
  pairs: readonly (readonly [number, number])[],
  into: Tensor,
): void {
  copyRows(gpu, source, gpu.upload(new Uint32Array(pairs.flat()), [pairs.length, 2]), into);
  const { tape } = gpu;
  tape?.record({
    output: into,
    inputs: [source],
    saved: [],
    backward: (dy) => tape.add(source, copyRowsBackward(gpu, dy, pairs, source.shape[0])),
  });
}
