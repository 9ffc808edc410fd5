import { readFileSync } from "node:fs";

/**
 * Source of one kernel file.
 * @param name  path below src/kernels without the ending, e.g. "layer-norm/layer-norm"
 */
export function wgsl(name: string): string {
  return readFileSync(new URL(`./kernels/${name}.wgsl`, import.meta.url), "utf8");
}
