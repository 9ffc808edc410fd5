/** How one stage of a bundle compares. Errors are relative RMS against the double-precision run. */
export interface StageResult {
  readonly bundle: string;
  readonly stage: string;
  readonly shape: readonly number[];
  /** Ours against f64; NaN where a value is NaN. For ids: the share that differs. */
  readonly error: number;
  /** PyTorch's f32 against f64. */
  readonly torchError: number;
  /** error / max(torchError, 1e-7) */
  readonly ratio: number;
  readonly maxAbs: number;
  readonly cosine: number;
  readonly ok: boolean;
  /**
   * False where weights are rounded to blocks: the bounds do not apply, and only a stage with a
   * `problem` fails. Absent: true.
   */
  readonly judged?: boolean;
  /** A fault other than a number above its bound. */
  readonly problem?: string;
  /**
   * Why the stage is ok, where another rule than the bound on its own ratio says so
   * (docs/numerics.md).
   */
  readonly reason?: string;
}

/** The most that our error may be, in units of PyTorch's own. */
export const stageBound = 1.5;
/** The same for the results of training: gradients, weights after some steps, losses and norms. */
export const trainingBound = 3;
/** The most that the median stage's ratio may be. */
export const medianBound = 1.0;
/** PyTorch errors below this count as this. */
export const errorFloor = 1e-7;
/**
 * The most that PyTorch's own error may be, 30 times the committed bundles' largest: past it the
 * golden is damaged and measures nothing.
 */
export const goldenCap = 1e-3;

export interface Difference {
  readonly error: number;
  readonly maxAbs: number;
  readonly cosine: number;
}

/**
 * Relative RMS error, largest absolute error and cosine of two arrays of equal length; NaN in
 * either gives NaN.
 * @param floor  RMS that the error is measured against at least
 */
export function difference(got: ArrayLike<number>, want: ArrayLike<number>, floor = 0): Difference {
  let squares = 0;
  let wantNorm = 0;
  let gotNorm = 0;
  let dot = 0;
  let maxAbs = 0;
  for (let i = 0; i < want.length; i++) {
    const d = got[i] - want[i];
    squares += d * d;
    wantNorm += want[i] * want[i];
    gotNorm += got[i] * got[i];
    dot += got[i] * want[i];
    maxAbs = Number.isNaN(d) ? NaN : Math.max(maxAbs, Math.abs(d));
  }
  const exact = squares === 0;
  return {
    error: exact ? 0 : Math.sqrt(squares / Math.max(wantNorm, floor * floor * want.length)),
    maxAbs,
    cosine: exact ? 1 : dot / Math.sqrt(wantNorm * gotNorm),
  };
}

/** The first value of an array that is no finite number. */
function oddValue(array: ArrayLike<number>): number | undefined {
  for (let i = 0; i < array.length; i++) if (!Number.isFinite(array[i])) return array[i];
  return undefined;
}

/**
 * The verdict where PyTorch's f32 is no measure (not finite, or past the cap): ours is finite,
 * nearer to f64 than PyTorch's, and within the cap itself. Undefined otherwise.
 */
function byDouble(
  where: Pick<StageResult, "bundle" | "stage" | "shape">,
  ours: Difference,
  torch: ArrayLike<number>,
  torchError: number,
): StageResult | undefined {
  const unusable = !(torchError <= goldenCap);
  if (!unusable || !(ours.error <= goldenCap) || torchError <= ours.error) return undefined;
  const odd = oddValue(torch);
  const what = odd === undefined ? `is ${torchError.toExponential(1)} off` : `holds ${odd}`;
  const reason = `judged by f64 alone: PyTorch's f32 ${what}`;
  return { ...where, ...ours, torchError, ratio: NaN, ok: true, reason };
}

/** The reason why a float stage cannot be measured; undefined where it can. */
function stageProblem(
  got: ArrayLike<number>,
  torch: ArrayLike<number>,
  f64: ArrayLike<number>,
  torchError: number,
): string | undefined {
  const golden = oddValue(torch) ?? oddValue(f64);
  if (golden !== undefined) return `the golden holds ${golden}`;
  if (!(torchError <= goldenCap)) {
    const off = torchError.toExponential(1);
    return `the golden is damaged: PyTorch's f32 is ${off} off its f64, at most ${goldenCap} is sane`;
  }
  const ours = oddValue(got);
  return ours === undefined ? undefined : `got ${ours}`;
}

/** The most that our error may be at a stage, in units of PyTorch's own. */
export function boundOf(stage: string): number {
  return /^(grad\.|final\.|losses$|norms$)/.test(stage) ? trainingBound : stageBound;
}

export interface CompareOptions {
  /** RMS that the errors are measured against at least. Default: 0. */
  readonly floor?: number;
  /** PyTorch errors below this count as this. Default: errorFloor, the least. */
  readonly leastTorchError?: number;
}

/**
 * Verdict on a float stage. Where a value is not finite or the golden is damaged there is a
 * problem, and the ratio is NaN. A golden whose f32 alone is unusable is judged by its f64, with a
 * reason and no ratio.
 */
export function compareStage(
  where: Pick<StageResult, "bundle" | "stage" | "shape">,
  got: ArrayLike<number>,
  torch: ArrayLike<number>,
  f64: ArrayLike<number>,
  { floor = 0, leastTorchError = 0 }: CompareOptions = {},
): StageResult {
  const ours = difference(got, f64, floor);
  const torchError = difference(torch, f64, floor).error;
  const settled = byDouble(where, ours, torch, torchError);
  if (settled) return settled;
  const problem = stageProblem(got, torch, f64, torchError);
  if (problem !== undefined) return { ...where, ...ours, torchError, ratio: NaN, ok: false, problem };
  const ratio = ours.error / Math.max(torchError, errorFloor, leastTorchError);
  return { ...where, ...ours, torchError, ratio, ok: ratio <= boundOf(where.stage) };
}

/** Verdict on a stage of token ids: every one must be equal. */
export function compareIds(
  where: Pick<StageResult, "bundle" | "stage" | "shape">,
  got: readonly number[],
  want: readonly number[],
): StageResult {
  const first = want.findIndex((id, i) => id !== got[i]);
  const wrong = want.filter((id, i) => id !== got[i]).length;
  const ok = first < 0 && got.length === want.length;
  const share = ok ? 0 : Math.max(wrong, 1) / want.length;
  const result = {
    ...where,
    error: share,
    torchError: 0,
    ratio: ok ? 0 : Infinity,
    maxAbs: wrong,
    cosine: 1 - share,
    ok,
  };
  if (ok) return result;
  return { ...result, problem: `id ${Math.max(first, 0)}: want ${want[first]}, got ${got[first]}` };
}

/** The verdict on a stage whose weights were rounded: its error is reported and not judged. */
export function unjudged(result: StageResult): StageResult {
  return { ...result, ok: true, judged: false, problem: undefined };
}

/** A stage that could not be compared. */
export function failedStage(
  where: Pick<StageResult, "bundle" | "stage" | "shape">,
  problem: string,
): StageResult {
  return { ...where, error: NaN, torchError: NaN, ratio: NaN, maxAbs: NaN, cosine: NaN, ok: false, problem };
}

/**
 * Median of the float stages' ratios, those judged by f64 alone left out; NaN where there is none
 * or one is NaN.
 */
export function medianRatio(results: readonly StageResult[]): number {
  const measured = results.filter(({ torchError, reason }) => {
    return torchError !== 0 && (reason === undefined || torchError <= goldenCap);
  });
  const ratios = measured.map(({ ratio }) => ratio);
  if (ratios.length === 0 || ratios.some(Number.isNaN)) return NaN;
  ratios.sort((a, b) => a - b);
  const middle = ratios.length >> 1;
  return ratios.length % 2 === 1 ? ratios[middle] : (ratios[middle - 1] + ratios[middle]) / 2;
}
