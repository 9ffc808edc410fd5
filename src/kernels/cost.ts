import { GpuError } from "../gpu/errors.js";
import type { Dispatch } from "../gpu/kernel.js";

/** Work of a dispatch, counted from its shapes. */
export interface Cost {
  /**
   * Multiplications, additions, divisions, roots and exponentials, one each; undefined where the
   * shapes do not determine it.
   */
  readonly flops: number | undefined;
  /** Each array once, as far as it is read or written. */
  readonly bytes: number;
}

/** What the u32 arrays of a dispatch held, by binding name. */
export type Contents = Readonly<Record<string, Uint32Array>>;

/** Counts a dispatch of a kernel. Without `bytes` every tensor is read or written as a whole. */
export type CostOf = (
  params: Dispatch["params"],
  dispatch: Dispatch,
  contents: Contents,
) => { flops?: number; bytes?: number };

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
  const { flops, bytes = distinctBytes(dispatch.tensors) } = cost(dispatch.params, dispatch, contents);
  if (Number.isNaN(flops) || Number.isNaN(bytes))
    throw new GpuError(
      `profile: ${kernel}: expected Params that its cost is counted by, got ${JSON.stringify(dispatch.params)}`,
    );
  return { flops, bytes };
}
