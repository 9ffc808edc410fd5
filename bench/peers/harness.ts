import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { type Spread, spread } from "../../src/profile/ceiling.js";
import { commitName } from "../result.js";

/** Something to be timed. */
export interface Contender {
  readonly name: string;
  /**
   * Runs once, from input to result on the host. May return its seconds, if they differ from the
   * call's.
   */
  readonly run: () => Promise<unknown>;
}

/**
 * Rest before each run, ms: onnxruntime's threads poll after a run, on the cores of the next one.
 */
export const rest = 100;

/** Four digits that count. */
export const rounded = (value: number): number => Number(value.toPrecision(4));

export const roundedSpread = ({ min, median, max }: Spread): Spread => ({
  min: rounded(min),
  median: rounded(median),
  max: rounded(max),
});

async function seconds({ run }: Contender): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, rest));
  const start = performance.now();
  const own = await run();
  return typeof own === "number" ? own : (performance.now() - start) / 1000;
}

/**
 * Seconds of each contender: each runs once to warm up, then in turn with a rest before each run.
 * So a change in the machine's speed affects all of them.
 */
export async function interleave(
  contenders: readonly Contender[],
  rounds: number,
): Promise<Record<string, Spread>> {
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (const contender of contenders) await seconds(contender);
  for (let i = 0; i < rounds; i++) {
    for (const contender of contenders) times.get(contender.name)!.push(await seconds(contender));
  }
  return Object.fromEntries([...times].map(([name, list]) => [name, roundedSpread(spread(list))]));
}

/** Exponent b of the least squares fit of y = a · x^b. */
export function exponent(points: readonly (readonly [number, number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)]);
  const mean = (i: number): number => logs.reduce((sum, point) => sum + point[i], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  const top = logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  return top / logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}

/** What a run depends on beside the code. */
export function machine(adapter: GPUAdapterInfo): Record<string, string | number> {
  const { vendor, architecture, device, description } = adapter;
  const manifest = (path: string): { version: string } =>
    JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")) as { version: string };
  return {
    vendor,
    architecture,
    device,
    driver: description,
    cpu: cpus()[0].model,
    cores: cpus().length,
    load: rounded(loadavg()[0]),
    megahertz: cpus()[0].speed,
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    dawn: manifest("../../node_modules/webgpu/package.json").version,
    commit: commitName(),
  };
}
