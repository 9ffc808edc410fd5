import { type StageResult, compareStage } from "./compare.js";

/**
 * A gradient below this share of its tensor's RMS has a relative rounding error of 1e-7 / 1e-3 =
 * 1e-4 and more. AdamW's first steps divide a gradient by its own size, so the weight moves by a
 * share of the learning rate that rounding chose.
 */
const amplifiedShare = 1e-3;
/**
 * The largest share of a stage's weights that is left out, but for one: in the committed bundles it
 * is 3.1 %, 1 of 32.
 */
const mostLeftOut = 0.04;
/** The most that one step's loss or norm may be off where it is left out: 84 roundings of f32. */
const leftOutError = 1e-5;

/** The AdamW updates of a stage's weights. */
export interface Updates {
  /** The first gradient, in f64. */
  readonly gradient: ArrayLike<number>;
  /** The same in PyTorch's f32. */
  readonly torchGradient: ArrayLike<number>;
  /** It is zero by symmetry: in f32 it is rounding alone. */
  readonly zero: boolean;
  /** The farthest that the steps move a weight: learning rate times steps. */
  readonly reach: number;
}

type Where = Pick<StageResult, "bundle" | "stage" | "shape">;

export interface Arrays {
  readonly got: ArrayLike<number>;
  readonly torch: ArrayLike<number>;
  readonly f64: ArrayLike<number>;
}

/** The stage without some of its values, by the same bound. */
function without(where: Where, { got, torch, f64 }: Arrays, left: ReadonlySet<number>): StageResult {
  const rest = (values: ArrayLike<number>): number[] => Array.from(values).filter((_, i) => !left.has(i));
  return compareStage(where, rest(got), rest(torch), rest(f64));
}

/**
 * Second verdict on trained weights that fail: those whose first gradient is lost in rounding are
 * left out, as long as each is no farther off than the steps could move it, and as long as they are
 * at most 4 % (or one), or the whole gradient is zero by symmetry. A gradient that is 0 in f64 and
 * in PyTorch's f32 (a dead unit, a row that no token uses) is exact: its weight counts. The first
 * result where that does not settle it.
 */
export function judgeUpdated(first: StageResult, arrays: Arrays, updates: Updates): StageResult {
  const { zero, reach } = updates;
  const { got, torch, f64 } = arrays;
  if (first.ok || (first.problem !== undefined && !zero)) return first;
  const left = lostInRounding(updates, f64.length);
  for (const i of left) {
    if (!(Math.abs(got[i] - f64[i]) <= reach) || !(Math.abs(torch[i] - f64[i]) <= reach)) return first;
  }
  if (left.size === 0 || (!zero && left.size > Math.max(1, mostLeftOut * f64.length))) return first;
  const all = left.size === f64.length;
  if (all ? !zero : !without(first, arrays, left).ok) return first;
  return {
    ...first,
    ok: true,
    reason: `${left.size} of ${f64.length} weights have a gradient of rounding alone`,
  };
}

/** Where the gradient is rounding alone; nowhere if it is not finite or not of this length. */
function lostInRounding({ gradient, torchGradient, zero }: Updates, length: number): Set<number> {
  const left = new Set<number>();
  if (gradient.length !== length || torchGradient.length !== length) return left;
  const squares = Array.from(gradient).reduce((sum, value) => sum + value * value, 0);
  const rms = Math.sqrt(squares / length);
  if (!Number.isFinite(rms)) return left;
  for (let i = 0; i < length; i++) {
    const exact = gradient[i] === 0 && torchGradient[i] === 0;
    if (!exact && (zero || Math.abs(gradient[i]) < amplifiedShare * rms)) left.add(i);
  }
  return left;
}

/**
 * Second verdict on a gradient that is zero by symmetry: it has no size of its own, so its error is
 * measured against all gradients, and one below 3e-7 of these is rounding.
 * @param whole  RMS of all gradients
 */
export function judgeZero(first: StageResult, { got, torch, f64 }: Arrays, whole: number): StageResult {
  if (first.ok || first.problem !== undefined) return first;
  const second = compareStage(first, got, torch, f64, { floor: whole });
  if (!second.ok) return first;
  const reason = `zero by symmetry: ${second.ratio.toFixed(2)} against the size of all gradients`;
  return { ...first, ok: true, reason };
}

/**
 * Second verdict on losses or norms, one number a step: without the one step that is farthest off,
 * as long as that is off by at most 1e-5 of its value. Ten numbers are few: where PyTorch is exact
 * by chance at that step, it decides the stage.
 */
export function judgeSteps(first: StageResult, arrays: Arrays): StageResult {
  const { got, f64 } = arrays;
  if (first.ok || first.problem !== undefined || f64.length < 4) return first;
  let worst = 0;
  const off = (i: number): number => Math.abs(got[i] - f64[i]);
  for (let i = 1; i < f64.length; i++) if (off(i) > off(worst)) worst = i;
  if (!(off(worst) <= leftOutError * Math.abs(f64[worst]))) return first;
  const rest = without(first, arrays, new Set([worst]));
  if (!rest.ok) return first;
  return { ...first, ok: true, reason: `step ${worst} alone decides; ${rest.ratio.toFixed(2)} without it` };
}
