import { readFileSync } from "node:fs";
import type { WindowName } from "../../src/frontend/config.js";

interface Fixture {
  resample: { from: number; to: number; n: number; y: number[] }[];
  fbank: {
    window: WindowName;
    amplitude: number;
    scale: number;
    n: number;
    kaldiError: number;
    y: number[];
  }[];
}

/**
 * Values of numpy in f64, written from the definitions; `kaldiError` is kaldi-native-fbank's
 * relative RMS error against them.
 */
const fixture = JSON.parse(
  readFileSync(new URL("../fixtures/frontend.json", import.meta.url), "utf8"),
) as Fixture;

export const resampleCases = (): Fixture["resample"] => fixture.resample;
export const fbankCases = (): Fixture["fbank"] => fixture.fbank;

/** The fixture's signal: a rising tone with two steady ones, [n] f32. */
export function testWave(n: number, rate: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => {
    const t = i / rate;
    const sweep = 0.4 * Math.sin(2 * Math.PI * (150 * t + 900 * t * t));
    return sweep + 0.2 * Math.sin(2 * Math.PI * 1730 * t + 0.3) + 0.05 * Math.sin(2 * Math.PI * 3217 * t);
  });
}

/** sqrt(sum (got - want)^2 / sum want^2); NaN when either holds one. */
export function relativeRms(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let error = 0;
  let total = 0;
  for (let i = 0; i < want.length; i++) {
    error += (got[i] - want[i]) ** 2;
    total += want[i] ** 2;
  }
  return Math.sqrt(error / total);
}
