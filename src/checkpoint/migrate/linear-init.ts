import { lowbias32 } from "../../hash.js";
import { elementCount } from "../../shape.js";
import { fromFloat32 } from "../../formats/dtypes.js";
import { PIECE_BYTES, type WriteDtype } from "../output-files.js";
import type { WriteTensor } from "../safetensors/write.js";
import { fnv1a } from "../weights.js";

/**
 * A parameter of the adaptor with the distribution of PyTorch's initialisation. Weight and bias of
 * nn.Linear are uniform in ±1/√fan_in, which is Kaiming uniform with a = √5. The weight of
 * nn.LayerNorm is 1, its bias 0. A value depends only on name, index and seed.
 * @param name   ends in ".weight" or ".bias"; "norm" before it means a norm
 * @param fanIn  inputs of the linear module, unused for a norm
 * @param seed   u32
 * @source torch.nn.Linear.reset_parameters, torch.nn.LayerNorm.reset_parameters
 */
export function initialTensor(
  name: string,
  shape: readonly number[],
  fanIn: number,
  { seed, dtype }: { readonly seed: number; readonly dtype: WriteDtype },
): WriteTensor {
  const count = elementCount(shape);
  const constant = isNorm(name) ? Number(name.endsWith(".weight")) : undefined;
  const uniform = uniformHash(name, seed);
  const bound = 1 / Math.sqrt(fanIn);
  const step = PIECE_BYTES / 4;
  const data = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for (let at = 0; at < count; at += step) {
      const values = new Float32Array(Math.min(step, count - at));
      if (constant !== undefined) values.fill(constant);
      else for (let i = 0; i < values.length; i++) values[i] = bound * uniform(at + i);
      yield await Promise.resolve(fromFloat32(values, dtype));
    }
  };
  return { name, dtype, shape, data };
}

function isNorm(name: string): boolean {
  return /norm\.(weight|bias)$/.test(name);
}

/**
 * Uniform numbers in (-1, 1), in 2^24 steps, by index. Two mixers with different keys prevent one
 * parameter's sequence from being a shifted part of another's.
 */
function uniformHash(name: string, seed: number): (index: number) => number {
  const first = lowbias32(fnv1a(name) ^ seed);
  const second = lowbias32((first + 0x9e3779b9) | 0);
  return (index) => {
    const bits = lowbias32(lowbias32((index + first) | 0) ^ second) >>> 8;
    return (2 * bits + 1) / 2 ** 24 - 1;
  };
}
