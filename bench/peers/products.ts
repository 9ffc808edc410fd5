import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Gpu } from "../../src/gpu/device.js";
import {
  type Matrix,
  type WeightFormat,
  keepMatrix,
  writeMatrix,
  writeScales,
} from "../../src/gpu/matrix.js";
import type { Tensor } from "../../src/gpu/tensor.js";
import { Timing } from "../../src/gpu/timing.js";
import { linear } from "../../src/kernels/linear/linear.js";
import { convertPiece } from "../../src/weights/pieces.js";
import type { Spread } from "../../src/profile/ceiling.js";
import { type Contender, interleave } from "./harness.js";
import { matMulModel } from "./onnx.js";

const products = 4; // of one row in a step

/** What is used of onnxruntime-node. */
interface OnnxRuntime {
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options: object,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: Float32Array }>> }>;
  };
  readonly Tensor: new (type: string, data: Float32Array, dims: readonly number[]) => object;
}

/** onnxruntime-node, installed beside this file; undefined where it is not. */
export function onnxRuntime(): OnnxRuntime | undefined {
  const directory = fileURLToPath(new URL("node_modules/onnxruntime-node", import.meta.url));
  if (!existsSync(directory)) return undefined;
  return createRequire(import.meta.url)("onnxruntime-node") as OnnxRuntime;
}

/** Seeded values in [-1, 1). */
export function uniform(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** So many matrices of the same values. */
function keepWeights(
  gpu: Gpu,
  [rows, columns]: readonly number[],
  { w, format, copies }: { w: Float32Array; format: WeightFormat; copies: number },
): Matrix[] {
  const { weights, scales } = convertPiece(new Uint8Array(w.slice().buffer), "F32", format);
  return Array.from({ length: copies }, () => {
    const matrix = keepMatrix(gpu, rows, columns, format);
    writeMatrix(gpu, matrix, weights);
    if (scales) writeScales(gpu, matrix, scales);
    return matrix;
  });
}

/** Largest difference, in parts of the largest value. */
export function difference(got: Float32Array, want: Float32Array): number {
  let [worst, most] = [0, 0];
  for (const [i, value] of want.entries()) {
    worst = Math.max(worst, Math.abs(got[i] - value));
    most = Math.max(most, Math.abs(value));
  }
  return worst / most;
}

/** Seconds of the kernels of a step, by timestamps. */
async function kernelSeconds(gpu: Gpu, step: () => Promise<unknown>): Promise<number> {
  const timing = (gpu.timing = new Timing(gpu.device));
  try {
    await step();
  } finally {
    gpu.timing = undefined;
  }
  const { dispatches } = await timing.collect();
  return dispatches.reduce((sum, { begin, end }) => sum + Number(end - begin), 0) / 1e9;
}

/**
 * Ours: a product as a whole call with the input uploaded and the result read, its kernel alone,
 * and for one row a product among several of a step, as in decoding.
 */
function ourContenders(
  gpu: Gpu,
  { x, m, matrices, name }: { x: Float32Array; m: number; matrices: readonly Matrix[]; name: string },
  results: Map<string, Float32Array>,
): Contender[] {
  const multiply = (input: Tensor): Tensor[] => matrices.map((w) => linear(gpu, input, w)).slice(-1);
  const upload = (): Tensor => gpu.upload(x, [m, matrices[0].columns]);
  const step = async (): Promise<void> => {
    const [y] = await gpu.step(() => [linear(gpu, upload(), matrices[0])]);
    results.set(name, y as Float32Array);
  };
  const several = async (): Promise<number> => {
    const start = performance.now();
    await gpu.step(() => multiply(upload()));
    return (performance.now() - start) / 1000 / matrices.length;
  };
  return [
    { name, run: step },
    { name: `${name} kernel`, run: () => kernelSeconds(gpu, step) },
    ...(matrices.length > 1 ? [{ name: `${name} of ${matrices.length}`, run: several }] : []),
  ];
}

/**
 * Seconds of x [m, k] · w [k, n], with the input uploaded and the result read each time.
 * Contenders: ours in the given formats, also the kernel alone, and onnxruntime's in f32, on its
 * WebGPU provider and on the CPU with 2 threads. Their results are compared first.
 */
export async function timeProduct(
  gpu: Gpu,
  [m, k, n]: readonly [number, number, number],
  formats: readonly WeightFormat[],
  rounds: number,
): Promise<Record<string, Spread>> {
  const [x, w] = [uniform(m * k, 1), uniform(n * k, 2)]; // w [n, k], as linear has it
  const results = new Map<string, Float32Array>();
  const contenders: Contender[] = formats.flatMap((format) => {
    const copies = m === 1 && format !== "f32" ? products : 1;
    const matrices = keepWeights(gpu, [n, k], { w, format, copies });
    return ourContenders(gpu, { x, m, matrices, name: `funasr-webgpu ${format}` }, results);
  });
  const ort = onnxRuntime();
  if (ort) {
    const transposed = new Float32Array(k * n);
    for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) transposed[j * n + i] = w[i * k + j];
    const model = matMulModel(m, k, n, transposed);
    for (const provider of ["webgpu", "cpu"]) {
      const options = { executionProviders: [provider], intraOpNumThreads: 2, interOpNumThreads: 1 };
      const session = await ort.InferenceSession.create(model, options);
      const name = `onnxruntime ${provider}`;
      const run = async (): Promise<void> => {
        const { y } = await session.run({ x: new ort.Tensor("float32", x, [m, k]) });
        results.set(name, y.data);
      };
      contenders.push({ name, run });
    }
  }
  const times = await interleave(contenders, rounds);
  const want = results.get("onnxruntime cpu") ?? results.get("funasr-webgpu f32");
  for (const [name, got] of results) {
    const bound = /f32|onnx/.test(name) ? 1e-5 : 0.2;
    if (want && !(difference(got, want) <= bound))
      throw new Error(`${name}: another result than the others'`);
  }
  return times;
}
