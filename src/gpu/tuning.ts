/** What a kernel is built or launched with, by name: rows of a tile, columns of a lane and the like. */
export type Sizes = Readonly<Record<string, number>>;

/** Sizes that were measured to be faster on an adapter than the usual ones, by shape class (see kernels/shape-classes.ts). */
export type Tuning = Readonly<Record<string, Sizes>>;

/** The sizes for a shape class: those that were measured on this device, else the usual ones. */
export function tuned<T extends Sizes>(tuning: Tuning, shapeClass: string, usual: T): T {
  return Object.hasOwn(tuning, shapeClass) ? { ...usual, ...tuning[shapeClass] } : usual;
}
