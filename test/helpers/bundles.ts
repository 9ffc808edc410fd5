import { fileURLToPath } from "node:url";
import { openSafetensors, readTensor } from "../../src/checkpoint/safetensors/safetensors.js";
import { type WriteTensor, safetensorsBytes } from "../../src/checkpoint/safetensors/write.js";
import { bytesSource } from "../../src/checkpoint/source.js";
import { openFile } from "../../src/node/files.js";
import { type Bundle, openBundle } from "../../src/verify/bundle.js";

/** A bundle's contents, to be changed by tests. */
export interface BundleParts {
  readonly tensors: Map<string, WriteTensor>;
  readonly metadata: Map<string, string>;
}

/** Path of a committed bundle. */
export function bundlePath(name: string): string {
  return fileURLToPath(new URL(`../../golden/bundles/${name}.safetensors`, import.meta.url));
}

/** A committed bundle in memory. */
export async function bundleParts(name: string): Promise<BundleParts> {
  const source = await openFile(bundlePath(name));
  try {
    const file = await openSafetensors(source);
    const tensors = new Map<string, WriteTensor>();
    for (const [key, { dtype, shape }] of file.tensors) {
      tensors.set(key, { name: key, dtype, shape, data: (await readTensor(file, key)).slice() });
    }
    return { tensors, metadata: new Map(file.metadata) };
  } finally {
    await source.close();
  }
}

/** The file that holds these parts. */
export function bundleBytes({ tensors, metadata }: BundleParts): Promise<Uint8Array> {
  return safetensorsBytes([...tensors.values()], metadata);
}

/** A changed bundle, open. */
export async function openParts(parts: BundleParts): Promise<Bundle> {
  return openBundle(bytesSource("changed.safetensors", await bundleBytes(parts)));
}

/** One tensor's bytes in place, as f32. */
export function floatsOf(parts: BundleParts, name: string): Float32Array {
  const { data, dtype } = parts.tensors.get(name)!;
  if (dtype !== "F32" || typeof data === "function") throw new Error(`${name} is ${dtype}`);
  return new Float32Array(data.buffer as ArrayBuffer);
}
