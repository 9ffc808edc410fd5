import type { Gpu } from "../gpu/device.js";
import { note } from "./output.js";

/** What loading took. */
export interface Loading {
  readonly seconds: number;
  /** Bytes of the weights on the GPU. */
  readonly weightBytes: number;
}

/** Runs a load and tells on stderr what it took. */
export async function timeLoading<T>(gpu: Gpu, load: () => Promise<T>): Promise<Loading & { model: T }> {
  const { kept } = gpu.bytes;
  const start = performance.now();
  const model = await load();
  const seconds = (performance.now() - start) / 1000;
  const weightBytes = gpu.bytes.kept - kept;
  note(`loaded in ${seconds.toFixed(1)} s; weights on the GPU: ${weightBytes} bytes`);
  return { model, seconds, weightBytes };
}
