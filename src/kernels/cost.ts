import { GpuError } from "../gpu/errors.js";
import type { Dispatch } from "../gpu/kernel.js";

/**
 * What a call does, for what it costs at least: a product of several rows or of one, attention of
 * several or of one (over a cache), the rest.
 */
export type CallKind = "products" | "row" | "attention" | "cache" | "elements";

/** Work of a dispatch, counted from its shapes. */
export interface Cost {
  /**
   * Multiplications, additions, divisions, roots and exponentials, one each; undefined where the
   * shapes do not determine it.
   */
  readonly flops: number | undefined;
  /** Each array once, as far as it is read or written. */
  readonly bytes: number;
  readonly kind: CallKind;
  /** `flops` with rows counted up to whole tiles. */
  readonly tiledFlops: number | undefined;
  /** Label of the call in the table of shapes. */
  readonly shape: string;
}

/** Rows of a tile of products and of attention; the last tile is computed whole. */
export const tileRows = 16;

/** What the u32 arrays of a dispatch held, by binding name. */
export type Contents = Readonly<Record<string, Uint32Array>>;

/**
 * Counts a dispatch of a kernel. Defaults: every tensor is read or written as a whole, the call goes
 * element by element, without tiles, and its label is the output's shape.
 */
export type CostOf = (params: Dispatch["params"], dispatch: Dispatch, contents: Contents) => Partial<Cost>;

const costs = new Map<string, CostOf>();

/** Says what the dispatches of a kernel cost. @param kernel  its path below src/kernels */
export function declareCost(kernel: string, cost: CostOf): void {
  costs.set(kernel, cost);
}

/** Kernels of the ops that are imported. */
export function countedKernels(): readonly string[] {
  return [...costs.keys()];
}

/**
 * Bytes of the tensors, each buffer once: an optional argument that is absent binds another one's.
 */
export function distinctBytes(tensors: Dispatch["tensors"]): number {
  const seen = new Map<number, number>();
  for (const { allocation, bytes } of Object.values(tensors))
    seen.set(allocation.id, Math.max(bytes, seen.get(allocation.id) ?? 0));
  return [...seen.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function outputShape(tensors: Dispatch["tensors"]): string {
  const output = tensors.y ?? Object.values(tensors).at(-1);
  return output ? `[${output.shape.join(", ")}]` : "";
}

/** So many FLOPs for each of `count`, or of rows · width, elements. */
export function perElement(flops: number): CostOf {
  return ({ count, rows, width }) => ({ flops: flops * (count ?? rows * width) });
}

/**
 * Work of one dispatch.
 * @throws GpuError  a kernel without a declared cost, other Params than it counts by, ranges that
 *                   are not known
 */
export function costOf(kernel: string, dispatch: Dispatch, contents: Contents = {}): Cost {
  const cost = costs.get(kernel);
  if (!cost)
    throw new GpuError(`profile: ${kernel}: expected a kernel with a declared cost, got one without`);
  const counted = cost(dispatch.params, dispatch, contents);
  const { flops, bytes = distinctBytes(dispatch.tensors) } = counted;
  if (Number.isNaN(flops) || Number.isNaN(bytes))
    throw new GpuError(
      `profile: ${kernel}: expected Params that its cost is counted by, got ${JSON.stringify(dispatch.params)}`,
    );
  const { kind = "elements", tiledFlops = flops, shape = outputShape(dispatch.tensors) } = counted;
  return { flops, bytes, kind, tiledFlops, shape };
}
