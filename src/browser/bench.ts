import type { Gpu } from "../gpu/device.js";
import { type Spread, measureCeilings } from "../profile/ceiling.js";
import type { BenchRow, BenchSection } from "./messages.js";
import type { RowCall } from "./verify.js";

/** Measures sections of a device, one after another. */
export async function bench(
  gpu: Gpu,
  sections: readonly BenchSection[],
  { onEvent, signal }: RowCall<BenchRow>,
): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const section of sections) {
    signal.throwIfAborted();
    for (const row of section === "ceilings" ? await ceilings(gpu) : []) {
      rows.push(row);
      onEvent(row);
    }
  }
  return rows;
}

function scaled({ min, median, max }: Spread, factor: number): Spread {
  return { min: min * factor, median: median * factor, max: max * factor };
}

async function ceilings(gpu: Gpu): Promise<BenchRow[]> {
  const { bandwidth, flops, dispatch, readback } = await measureCeilings(gpu);
  return [
    { section: "ceilings", name: "copy", unit: "GB/s", value: scaled(bandwidth, 1e-9) },
    { section: "ceilings", name: "arithmetic", unit: "GFLOP/s", value: scaled(flops, 1e-9) },
    { section: "ceilings", name: "dispatch", unit: "µs", value: scaled(dispatch, 1e6) },
    { section: "ceilings", name: "readback", unit: "ms", value: scaled(readback, 1e3) },
  ];
}
