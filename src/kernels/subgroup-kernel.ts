import { type Kernel, loadKernel } from "../gpu/kernel.js";

const loaded = new Map<string, Kernel>(); // by file and constants

/** A kernel of the subgroup family with its constants set, `SG` among them; loaded once. */
export function subgroupKernel(file: string, constants: Readonly<Record<string, number>>): Kernel {
  const id = file + JSON.stringify(constants);
  let kernel = loaded.get(id);
  if (!kernel) loaded.set(id, (kernel = loadKernel(file, constants)));
  return kernel;
}
