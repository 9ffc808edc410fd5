import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import type { Tensor } from "../../gpu/tensor.js";

/** The clips of a packed batch: clip i is the rows offsets[i] to offsets[i + 1] - 1. */
export interface Segments {
  readonly offsets: readonly number[];
  readonly rows: number;
  readonly longest: number;
  /** [rows, 2] u32, first row of the row's clip and one past its last */
  readonly ranges: Tensor;
  /** Attention's query tiles over the clips. */
  readonly tiles: Tiles;
}

/** Query rows of one tile of attention.wgsl. */
const tileRows = 16;

/** Groups of up to `rows` neighbouring query rows whose key ranges begin at the same row. */
export interface Tiles {
  readonly rows: number;
  /** [tiles, 2] u32, first query row and one past the last */
  readonly table: Tensor;
}

/**
 * Cuts each run of rows into tiles; one-row runs make one-row tiles. Uploaded to the running step.
 */
export function makeTiles(gpu: Gpu, lengths: readonly number[]): Tiles {
  const rows = lengths.every((length) => length === 1) ? 1 : tileRows;
  const table: number[] = [];
  let start = 0;
  for (const length of lengths) {
    for (let at = 0; at < length; at += rows) table.push(start + at, start + Math.min(at + rows, length));
    start += length;
  }
  return { rows, table: gpu.upload(new Uint32Array(table), [table.length / 2, 2]) };
}

/**
 * Offsets, ranges and tiles of clips with these lengths, for the running step.
 * @throws ShapeError  an empty clip
 */
export function makeSegments(gpu: Gpu, lengths: readonly number[]): Segments {
  const offsets = [0];
  for (const length of lengths) {
    if (!(length > 0)) throw new ShapeError(`a clip must have at least 1 row, got ${length}`);
    offsets.push(offsets.at(-1)! + length);
  }
  const rows = offsets.at(-1)!;
  const ranges = new Uint32Array(2 * rows);
  for (const [i, length] of lengths.entries()) {
    for (let r = offsets[i]; r < offsets[i] + length; r++) ranges.set([offsets[i], offsets[i + 1]], 2 * r);
  }
  return {
    offsets,
    rows,
    longest: Math.max(...lengths),
    ranges: gpu.upload(ranges, [rows, 2]),
    tiles: makeTiles(gpu, lengths),
  };
}
