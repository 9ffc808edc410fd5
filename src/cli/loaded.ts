import type { Gpu } from "../gpu/device.js";
import { type OnProgress, note, withBar } from "./output.js";

/** Time and bytes of a load. */
export interface Loading {
  readonly seconds: number;
  /** Bytes of the weights on the GPU. */
  readonly weightBytes: number;
}

/** Runs a load with a bar, and reports its time and bytes on stderr. */
export async function timeLoading<T>(
  gpu: Gpu,
  load: (onProgress: OnProgress) => Promise<T>,
): Promise<Loading & { model: T }> {
  const { kept } = gpu.bytes;
  const start = performance.now();
  const model = await withBar("loading", load);
  const seconds = (performance.now() - start) / 1000;
  const weightBytes = gpu.bytes.kept - kept;
  note(`loaded in ${seconds.toFixed(1)} s; weights on the GPU: ${weightBytes} bytes`);
  return { model, seconds, weightBytes };
}
