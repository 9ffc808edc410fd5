import type { Gpu } from "../gpu/device.js";
import { type WeightFormat, freeMatrix, keepMatrix, rowBytes, rowScaleBytes } from "../gpu/matrix.js";
import { makeTiles } from "../kernels/attention/segments.js";
import type { Tensor } from "../gpu/tensor.js";
import { attention } from "../kernels/attention/attention.js";
import { layerNorm } from "../kernels/layer-norm/layer-norm.js";
import { linear } from "../kernels/linear/linear.js";
import type { CallKind } from "../kernels/cost.js";
import { type Ceilings, spread } from "./ceiling.js";
import type { Shares } from "./predict.js";

const rounds = 7;

/**
 * A call whose time is taken: its work in FLOPs or bytes, and how many stand in a step, so that the
 * step's own cost does not count.
 */
interface Probe {
  readonly work: number;
  readonly calls: number;
  readonly body: () => void;
  readonly seconds: number[];
}

/**
 * A kind of calls by a small one and a large one: what a call costs at least, and what its work
 * adds.
 */
interface Line {
  readonly small: Probe;
  readonly large: Probe;
}

/** Calls of every kind, made to be timed again and again. */
export interface Probes {
  /** Times each once. */
  readonly sample: () => Promise<void>;
  /**
   * What was found so far.
   * @param of  which of the times counts: the best, or on a busy machine the one in the middle
   */
  readonly shares: (ceilings: Ceilings, of: "min" | "median") => Shares;
  readonly free: () => void;
}

async function time(gpu: Gpu, { calls, body, seconds }: Probe): Promise<void> {
  const start = performance.now();
  await gpu.step(() => {
    for (let i = 0; i < calls; i++) gpu.scope(body);
    return [];
  });
  await gpu.finish();
  seconds.push((performance.now() - start) / 1000 / calls);
}

/** Tensors and matrices that live as long as the probes. */
class Kept {
  readonly #free: (() => void)[] = [];

  constructor(private readonly gpu: Gpu) {}

  filled(shape: readonly number[]): Tensor {
    const tensor = this.gpu.keep(shape, "f32");
    this.gpu.write(tensor, new Float32Array(tensor.bytes / 4).fill(0.5));
    this.#free.push(() => this.gpu.free(tensor));
    return tensor;
  }

  /** A product with a matrix of zeros. */
  async product([rows, width, columns]: readonly number[], format: WeightFormat): Promise<() => void> {
    const { gpu } = this;
    const w = keepMatrix(gpu, columns, width, format);
    this.#free.push(() => freeMatrix(gpu, w));
    await gpu.step(() => (w.pieces.forEach(({ tensor }) => gpu.clear(tensor)), [])); // touches its pages
    const x = this.filled([rows, width]);
    return () => void linear(gpu, x, w);
  }

  /** Causal attention of the last `rows` of `keys` rows. */
  attention(rows: number, keys: number): () => void {
    const { gpu } = this;
    const q = this.filled([rows, heads * headDim]);
    const kv = this.filled([keys, kvHeads * headDim]);
    const seen = (_: unknown, i: number): number => (i % 2 === 0 ? 0 : keys - rows + (i + 1) / 2);
    const ranges = Uint32Array.from({ length: 2 * rows }, seen);
    return () => {
      const tables = { ranges: gpu.upload(ranges, [rows, 2]), tiles: makeTiles(gpu, [rows]) };
      attention(gpu, q, kv, kv, { heads, kvHeads, ...tables });
    };
  }

  norm(rows: number, width: number): () => void {
    const x = this.filled([rows, width]);
    const gamma = this.filled([width]);
    return () => void layerNorm(this.gpu, x, gamma, gamma);
  }

  free(): void {
    for (const give of this.#free.splice(0)) give();
  }
}

const [heads, kvHeads, headDim] = [16, 8, 128]; // of Qwen3 0.6B and 1.7B
const probe = (work: number, calls: number, body: () => void): Probe => ({ work, calls, body, seconds: [] });

async function makeLines(kept: Kept, format: WeightFormat): Promise<Record<CallKind, Line>> {
  const product = async (shape: readonly number[], calls: number): Promise<Probe> => {
    const [m, k, n] = shape;
    const bytes = n * (rowBytes(k, format) + rowScaleBytes(k, format));
    return probe(m === 1 ? bytes : 2 * m * k * n, calls, await kept.product(shape, format));
  };
  const tiled = (rows: number, calls: number): Probe =>
    probe(2 * rows * (rows + 1) * heads * headDim, calls, kept.attention(rows, rows));
  const cached = (keys: number, calls: number): Probe =>
    probe(8 * keys * kvHeads * headDim, calls, kept.attention(1, keys));
  const norm = (rows: number, width: number, calls: number): Probe =>
    probe(8 * rows * width, calls, kept.norm(rows, width));
  return {
    products: { small: await product([48, 256, 256], 32), large: await product([64, 1024, 3072], 2) },
    row: { small: await product([1, 256, 256], 64), large: await product([1, 1024, 16_384], 4) },
    attention: { small: tiled(32, 16), large: tiled(128, 4) },
    cache: { small: cached(32, 64), large: cached(448, 16) },
    elements: { small: norm(32, 256, 64), large: norm(96, 1024, 16) },
  };
}

/** Makes the calls; several hundred megabytes of weights at most. */
export async function makeProbes(gpu: Gpu, format: WeightFormat): Promise<Probes> {
  const kept = new Kept(gpu);
  const lines = await makeLines(kept, format);
  const all = Object.values(lines).flatMap(({ small, large }) => [small, large]);
  const sample = async (): Promise<void> => {
    for (const one of all) await time(gpu, one);
  };
  await sample(); // compiles
  for (const { seconds } of all) seconds.length = 0;
  const shares = ({ bandwidth, flops }: Ceilings, of: "min" | "median"): Shares => {
    const line = (kind: CallKind, ceiling: number): { share: number; call: number } => {
      const { small, large } = lines[kind];
      const [low, high] = [small, large].map(({ seconds }) => spread(seconds)[of]);
      const rate = (large.work - small.work) / Math.max(high - low, high / 100);
      return { share: rate / ceiling, call: Math.max(low - small.work / rate, 0) };
    };
    const [products, row] = [line("products", flops.max), line("row", bandwidth.max)];
    const [tiles, cache] = [line("attention", flops.max), line("cache", bandwidth.max)];
    const elements = line("elements", bandwidth.max);
    return {
      flops: products.share,
      bandwidth: row.share,
      attention: tiles.share,
      cache: cache.share,
      elements: elements.share,
      calls: {
        products: products.call,
        row: row.call,
        attention: tiles.call,
        cache: cache.call,
        elements: elements.call,
      },
    };
  };
  return { sample, shares, free: () => kept.free() };
}

/**
 * What the kernels reach on this device of its ceilings, and what a call of each kind costs at
 * least: the best of some rounds.
 */
export async function measureShares(gpu: Gpu, format: WeightFormat, ceilings: Ceilings): Promise<Shares> {
  const probes = await makeProbes(gpu, format);
  try {
    for (let round = 0; round < rounds; round++) await probes.sample();
    return probes.shares(ceilings, "min");
  } finally {
    probes.free();
  }
}
