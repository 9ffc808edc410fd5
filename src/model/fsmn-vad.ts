import { type VadConfig, alignedVadConfig, vadTensors } from "../config/vad-config.js";
import type { Gpu } from "../gpu/device.js";
import { ShapeError } from "../gpu/errors.js";
import { keepAll } from "../gpu/keep-all.js";
import type { Matrix } from "../gpu/matrix.js";
import type { Tensor } from "../gpu/tensor.js";
import { makeSegments } from "../kernels/attention/segments.js";
import { copyRows } from "../kernels/copy-rows/copy-rows.js";
import { causalTiles, fsmnCausal } from "../kernels/fsmn/fsmn-causal.js";
import { fsmn } from "../kernels/fsmn/fsmn.js";
import { linear } from "../kernels/linear/linear.js";
import { softmax } from "../kernels/softmax/softmax.js";
import { type ParameterLoader, all } from "../weights/loader.js";
import { loadWeights } from "../weights/memory.js";
import { type HeldTensor, zeroExtended } from "../weights/zero-extended.js";
import { type Affine, affine, loadAffine } from "./encoder-layer.js";
import { type Tap, noTap } from "./taps.js";

/** FSMN-VAD: frames of features → how probable silence is. Its hidden widths are those of the kernels. */
export interface FsmnVad {
  readonly config: VadConfig;
  readonly inLinear1: Affine;
  readonly inLinear2: Affine;
  readonly blocks: readonly FsmnBlock[];
  readonly outLinear1: Affine;
  readonly outLinear2: Affine;
  /** Gives the weights' GPU memory back. */
  free(): void;
}

/** Projection, causal memory, and the way back to the net's width. */
interface FsmnBlock {
  readonly linear: Matrix;
  /** [P, 1, taps] */
  readonly memory: Tensor;
  readonly affine: Affine;
}

/**
 * Puts a net on the GPU.
 * @param tensors  as vadTensors(config) lists them
 * @throws CheckpointError  a tensor is missing; OutOfMemoryError  see loadWeights
 */
export async function loadFsmnVad(
  gpu: Gpu,
  config: VadConfig,
  tensors: ReadonlyMap<string, HeldTensor>,
  name = "FSMN-VAD",
): Promise<FsmnVad> {
  const aligned = alignedVadConfig(config);
  const source = zeroExtended(name, tensors, vadTensors(aligned));
  const block = (load: ParameterLoader, i: number): Promise<FsmnBlock> =>
    all({
      linear: load.matrix(`encoder.fsmn.${i}.linear.linear.weight`),
      memory: load.vector(`encoder.fsmn.${i}.fsmn_block.conv_left.weight`),
      affine: loadAffine(load, `encoder.fsmn.${i}.affine.linear`),
    });
  const parts = await loadWeights(gpu, source, {}, (load) =>
    all({
      inLinear1: loadAffine(load, "encoder.in_linear1.linear"),
      inLinear2: loadAffine(load, "encoder.in_linear2.linear"),
      blocks: Promise.all(Array.from({ length: config.layers }, (_, i) => block(load, i))),
      outLinear1: loadAffine(load, "encoder.out_linear1.linear"),
      outLinear2: loadAffine(load, "encoder.out_linear2.linear"),
    }),
  );
  return { config: aligned, ...parts };
}

/**
 * How probable silence is in each frame of packed clips.
 * @param features  [T, input] f32
 * @param lengths   frames of each clip
 * @param state     what the clips' earlier frames left; changed to what these leave
 * @returns         [T, 1] f32
 * @source funasr FSMN.forward
 */
export function fsmnVad(
  gpu: Gpu,
  w: FsmnVad,
  features: Tensor,
  lengths: readonly number[],
  { state, tap = noTap }: { readonly state?: VadState; readonly tap?: Tap } = {},
): Tensor {
  const remember = state ? state.memory(lengths) : memoryOf(gpu, lengths);
  const tapped = (stage: string, x: Tensor): Tensor => (tap(stage, x), x);
  return gpu.scope(() => {
    const first = tapped("vad.in_linear1", affine(gpu, features, w.inLinear1));
    const input = tapped("vad.in_linear2", affine(gpu, first, w.inLinear2, { activation: "relu" }));
    const hidden = gpu.chain(input, w.blocks, (x, block, i) => {
      const memory = remember(linear(gpu, x, block.linear), block.memory, i);
      tap(`vad.blocks.${i}.memory`, memory);
      return tapped(`vad.blocks.${i}.output`, affine(gpu, memory, block.affine, { activation: "relu" }));
    });
    const output = tapped("vad.out_linear1", affine(gpu, hidden, w.outLinear1));
    const logits = tapped("vad.out_linear2", affine(gpu, output, w.outLinear2));
    return tapped("vad.silence", softmax(gpu, logits, 1));
  });
}

/** z [T, P] and the taps of a layer → z plus the memory of its clip's rows. */
type Memory = (z: Tensor, taps: Tensor, layer: number) => Tensor;

/** The memory of whole clips. */
function memoryOf(gpu: Gpu, lengths: readonly number[]): Memory {
  const { ranges } = makeSegments(gpu, lengths);
  return (z, taps) => fsmn(gpu, z, taps, ranges, { left: taps.shape[2] - 1 });
}

/**
 * The rows that the memories still reach when clips go on in a later step: taps - 1 of each layer
 * and clip, zeros at first. A clip in several steps has the bits of the clip in one.
 */
export class VadState {
  readonly #left: number;
  /** A layer each: [clips · left, P] f32 */
  readonly #layers: readonly Tensor[];

  constructor(
    private readonly gpu: Gpu,
    { config: { layers, taps, projDim } }: FsmnVad,
    private readonly clips = 1,
  ) {
    this.#left = taps - 1;
    const shape = [clips * this.#left, projDim];
    const wanted = Array.from({ length: layers }, () => [shape, "f32"] as const);
    this.#layers = keepAll(gpu, wanted);
  }

  /** The memory of more rows of each clip, which the rows left by earlier ones precede. */
  memory(lengths: readonly number[]): Memory {
    const { gpu, clips } = this;
    const left = this.#left;
    if (lengths.length !== clips)
      throw new ShapeError(`VadState: expected ${clips} clips, got ${lengths.length}`);
    if (left === 0) return memoryOf(gpu, lengths);
    const tiles = causalTiles(gpu, lengths);
    const kept: [number, number][] = []; // rows of a layer that stay, to an earlier place of it
    const fresh: [number, number][] = []; // rows of z to their place in a layer
    let end = 0;
    for (const [clip, length] of lengths.entries()) {
      end += length;
      const count = Math.min(length, left);
      const at = (clip + 1) * left - count;
      for (let i = clip * left; i < at; i++) kept.push([i + count, i]);
      for (let i = 0; i < count; i++) fresh.push([end - count + i, at + i]);
    }
    const table = (pairs: [number, number][]): Tensor =>
      gpu.upload(Uint32Array.from(pairs.flat()), [pairs.length, 2]);
    const into = table(fresh);
    const stay = kept.length > 0 ? [table(kept), table(kept.map(([, to]) => [to, to]))] : undefined;
    return (z, taps, layer) => {
      const memory = this.#layers[layer];
      const y = fsmnCausal(gpu, z, taps, memory, tiles);
      if (stay) {
        const next = gpu.empty(memory.shape);
        copyRows(gpu, memory, stay[0], next);
        copyRows(gpu, next, stay[1], memory);
      }
      copyRows(gpu, z, into, memory);
      return y;
    };
  }

  free(): void {
    for (const layer of this.#layers) this.gpu.free(layer);
  }
}
