import { describe, expect, test, vi } from "vitest";
import { expectClose, useGpu, values } from "../../test/gpu.js";
import { releasedVad, smallVad, vadWeights } from "../../test/helpers/vad.js";
import { type VadConfig, inputDim } from "../config/vad-config.js";
import type { Gpu } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import { fsmnRef } from "../kernels/fsmn/fsmn.ref.js";
import { softmaxRef } from "../kernels/softmax/softmax.ref.js";
import type { HeldTensor } from "../weights/zero-extended.js";
import { type FsmnVad, VadState, fsmnVad, loadFsmnVad } from "./fsmn-vad.js";

// Plan: the net against plain loops in f64, odd widths and the released ones, with subgroups and
// without; a clip in a batch has the bits of the clip alone; clips in pieces of any size, two at a
// time, have the bits of the whole; a net without memory; a missing tensor;
// a state that finds no memory.
const gpu = useGpu();
const portable = useGpu({ subgroups: false });
const bound = 1e-6; // ten products in f32 before a softmax

/** What one clip gives, in f64. */
function reference(
  config: VadConfig,
  weights: ReadonlyMap<string, HeldTensor>,
  x: Float32Array,
): Float64Array {
  const at = (name: string): Float32Array => weights.get(`encoder.${name}`)!.data;
  const product = (input: ArrayLike<number>, name: string, width: number, bias = true): Float64Array => {
    const w = at(`${name}.linear.weight`);
    const columns = w.length / width;
    const y = new Float64Array((input.length / columns) * width);
    for (let i = 0; i < y.length; i++) {
      const [row, n] = [Math.floor(i / width), i % width];
      let sum = bias ? at(`${name}.linear.bias`)[n] : 0;
      for (let k = 0; k < columns; k++) sum += input[row * columns + k] * w[n * columns + k];
      y[i] = sum;
    }
    return y;
  };
  const relu = (y: Float64Array): Float64Array => y.map((value) => Math.max(0, value));
  const { linearDim, projDim, taps } = config;
  let h = relu(product(product(x, "in_linear1", config.inputAffineDim), "in_linear2", linearDim));
  for (let i = 0; i < config.layers; i++) {
    const z = product(h, `fsmn.${i}.linear`, projDim, false);
    const memory = fsmnRef(
      z,
      at(`fsmn.${i}.fsmn_block.conv_left.weight`),
      projDim,
      [z.length / projDim],
      taps - 1,
    );
    h = relu(product(memory, `fsmn.${i}.affine`, linearDim));
  }
  const logits = product(product(h, "out_linear1", config.outputAffineDim), "out_linear2", config.outputDim);
  return softmaxRef(logits, config.outputDim, 1);
}

async function run(
  g: Gpu,
  net: FsmnVad,
  x: Float32Array,
  lengths: readonly number[],
  state?: VadState,
): Promise<Float32Array> {
  const width = inputDim(net.config);
  const [silence] = await g.step(() => [
    fsmnVad(g, net, g.upload(x, [x.length / width, width]), lengths, { state }),
  ]);
  return silence as Float32Array;
}

describe.each([
  ["odd widths", smallVad],
  ["the released widths", releasedVad],
])("%s", (_, config) => {
  const weights = vadWeights(config);
  const width = inputDim(config);
  const lengths = [31, 1, 47];
  const x = values(79 * width, 99);
  const clip = (rows: Float32Array, i: number): Float32Array => {
    const first = lengths.slice(0, i).reduce((a, b) => a + b, 0);
    const each = rows.length / 79;
    return rows.slice(first * each, (first + lengths[i]) * each);
  };

  test.each(["subgroups", "portable"])("%s: f64, and the bits of each clip alone", async (family) => {
    const g = family === "portable" ? portable() : gpu();
    const net = await loadFsmnVad(g, config, weights);
    const together = await run(g, net, x, lengths);
    for (const i of lengths.keys()) {
      const alone = clip(x, i);
      expectClose(clip(together, i), reference(config, weights, alone), bound);
      expect(await run(g, net, alone, [lengths[i]])).toEqual(clip(together, i));
    }
    net.free();
  });

  test("two clips in pieces have the bits of the whole", async () => {
    const net = await loadFsmnVad(gpu(), config, weights);
    const whole = [0, 2].map((i) => clip(x, i));
    const want = await Promise.all(whole.map((rows) => run(gpu(), net, rows, [rows.length / width])));
    const { kept } = gpu().bytes;
    const state = new VadState(gpu(), net, 2);
    const got: number[][] = [[], []];
    const pieces = [
      [1, 1],
      [5, 30],
      [24, 9],
      [1, 7],
    ];
    const at = [0, 0];
    for (const counts of pieces) {
      const rows = counts.map((count, i) => whole[i].slice(at[i] * width, (at[i] += count) * width));
      const silence = await run(
        gpu(),
        net,
        Float32Array.from(rows.flatMap((part) => [...part])),
        counts,
        state,
      );
      got[0].push(...silence.slice(0, counts[0]));
      got[1].push(...silence.slice(counts[0]));
    }
    expect(got.map((values) => Float32Array.from(values))).toEqual(want);
    await expect(run(gpu(), net, whole[0], [31], state)).rejects.toThrow("VadState: expected 2 clips, got 1");
    state.free();
    expect(gpu().bytes.kept).toBe(kept);
    net.free();
  });
});

test("a net without memory, and a missing tensor", async () => {
  const config = { ...smallVad, taps: 1 };
  const weights = vadWeights(config);
  const net = await loadFsmnVad(gpu(), config, weights);
  const state = new VadState(gpu(), net);
  const x = values(7 * 12, 3);
  expect(await run(gpu(), net, x, [7], state)).toEqual(await run(gpu(), net, x, [7]));
  state.free();
  net.free();
  weights.delete("encoder.fsmn.1.affine.linear.bias");
  await expect(loadFsmnVad(gpu(), config, weights, "x")).rejects.toThrow(
    'x: tensor "encoder.fsmn.1.affine.linear.bias": expected a tensor of that name, got none (file has 17 tensors)',
  );
});

test("a state that finds no memory half-way leaves nothing", async () => {
  const net = await loadFsmnVad(gpu(), smallVad, vadWeights(smallVad));
  const { kept } = gpu().bytes;
  const keep = gpu().keep.bind(gpu());
  let left = net.config.layers - 1;
  const spy = vi.spyOn(gpu(), "keep").mockImplementation((shape, dtype) => {
    if (left-- === 0) throw new GpuError("no memory");
    return keep(shape, dtype);
  });
  expect(() => new VadState(gpu(), net)).toThrow("no memory");
  spy.mockRestore();
  expect(gpu().bytes.kept).toBe(kept);
  net.free();
});
