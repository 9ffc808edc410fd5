import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("fsmn/fsmn-causal", ({ rows, width, taps }) => ({
  flops: rows * width * (2 * taps + 1),
}));
const threads = 64;
const tileRows = 8; // of fsmn-causal.wgsl

/** Packed clips in parts of up to 8 rows. */
export interface CausalTiles {
  readonly clips: number;
  readonly rows: number;
  /** [parts, 4] u32: first row, one past the last, first row of the clip, clip */
  readonly table: Tensor;
}

/** @param lengths  rows of each clip. @throws ShapeError  no row */
export function causalTiles(gpu: Gpu, lengths: readonly number[]): CausalTiles {
  const table: number[] = [];
  let rows = 0;
  for (const [clip, length] of lengths.entries()) {
    const [start, end] = [rows, rows + length];
    for (let row = start; row < end; row += tileRows)
      table.push(row, Math.min(row + tileRows, end), start, clip);
    rows = end;
  }
  if (rows === 0) throw new ShapeError("causalTiles: expected a row at least, got none");
  return { clips: lengths.length, rows, table: gpu.upload(Uint32Array.from(table), [table.length / 4, 4]) };
}

/**
 * The memory of clips that go on: what `fsmn` with left = taps - 1 gives for the rows of a clip
 * behind those that came before, with its bits. No gradient passes it.
 * @param v       [rows, width] f32
 * @param w       [width, 1, taps] f32
 * @param before  [clips · (taps - 1), width] f32: the last rows before each clip
 * @returns       [rows, width] f32
 * @throws ShapeError  a gradient is to pass it
 * @source FunASR FSMNBlock.forward with its cache
 */
export function fsmnCausal(gpu: Gpu, v: Tensor, w: Tensor, before: Tensor, tiles: CausalTiles): Tensor {
  const [rows, width] = expectMatrix("fsmnCausal", { v });
  const taps = elementCount(w.shape) / width;
  expectShape("fsmnCausal", { v }, [tiles.rows, width]);
  expectShape("fsmnCausal", { w }, [width, 1, taps]);
  expectShape("fsmnCausal", { before }, [tiles.clips * (taps - 1), width]);
  expectDType("fsmnCausal", { v, w, before }, "f32");
  gpu.tape?.refuse("fsmnCausal", [v, w]);
  const y = gpu.empty(v.shape);
  const [count] = tiles.table.shape;
  gpu.run(kernel, {
    params: { rows, width, taps, tiles: count },
    tensors: { v, w, before, tiles: tiles.table, y },
    groups: Math.ceil((count * width) / threads),
    overrides: { WG: threads },
  });
  return y;
}
