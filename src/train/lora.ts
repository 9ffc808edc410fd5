import { uniformNumbers } from "../random.js";
import { isCounting } from "../gpu/counting.js";
import type { Gpu } from "../gpu/device.js";
import { type Matrix, keepMatrix } from "../gpu/matrix.js";
import type { Trainable } from "../gpu/tape.js";
import type { LowRank, Projection } from "../kernels/linear/linear.js";
import type { FunAsrNano } from "../model/fun-asr-nano.js";
import type { Qwen3Layer } from "../model/qwen3.js";
import { TrainError } from "./errors.js";

/**
 * The LLM's projections that can have a low-rank addition, with the part of a layer that holds them
 * in a checkpoint.
 */
const projections = {
  q_proj: "self_attn",
  k_proj: "self_attn",
  v_proj: "self_attn",
  o_proj: "self_attn",
  gate_proj: "mlp",
  up_proj: "mlp",
  down_proj: "mlp",
} as const;
export type LoraTarget = keyof typeof projections;
export const loraTargets = Object.keys(projections) as LoraTarget[];

export interface LoraOptions {
  /** A whole number from 1. Default: 16. */
  readonly rank?: number;
  /** The addition is scaled by alpha / rank. Default: 2 · rank. */
  readonly alpha?: number;
  /** Probability of dropping an element of a projection's input while training. Default: 0. */
  readonly dropout?: number;
  /** Default: q_proj, v_proj. */
  readonly targets?: readonly LoraTarget[];
  /** Of the initial values. Default: 0. */
  readonly seed?: number;
}

/** "q_proj,v_proj" → targets. @throws TrainError  none, or an unknown one */
export function parseLoraTargets(text: string): LoraTarget[] {
  const wanted = text.split(",").map((part) => part.trim());
  const unknown = wanted.find((part) => !Object.hasOwn(projections, part));
  if (unknown !== undefined) {
    throw new TrainError(
      `--lora-targets: expected some of ${loraTargets.join(", ")}, got ${JSON.stringify(unknown)}`,
    );
  }
  return loraTargets.filter((target) => wanted.includes(target));
}

/** Name of a projection of layer `layer` in the checkpoint, without its ".weight". */
export function projectionName(layer: number, target: LoraTarget): string {
  return `model.language_model.layers.${layer}.${projections[target]}.${target}`;
}

/** A LoRA's options with their defaults. */
export function loraShape({
  rank = 16,
  alpha = 2 * rank,
  dropout = 0,
  targets = ["q_proj", "v_proj"],
  seed = 0,
}: LoraOptions = {}): Required<LoraOptions> {
  return { rank, alpha, dropout, targets, seed };
}

/**
 * @throws TrainError  a rank that is no whole number from 1, an alpha that is not above 0, a
 *                     dropout outside [0, 1), no target
 */
export function checkLora(options?: LoraOptions): void {
  const { rank, alpha, dropout, targets } = loraShape(options);
  if (!(Number.isSafeInteger(rank) && rank > 0))
    throw new TrainError(`LoRA: expected a rank that is a whole number from 1, got ${rank}`);
  if (!(alpha > 0)) throw new TrainError(`LoRA: expected an alpha above 0, got ${alpha}`);
  if (!(dropout >= 0 && dropout < 1))
    throw new TrainError(`LoRA: expected a dropout from 0 up to 1, got ${dropout}`);
  if (targets.length === 0) throw new TrainError("LoRA: expected at least 1 target, got none");
}

/**
 * Rank of a LoRA's factors on the GPU: kernels read rows of whole vec4. Values past the rank are
 * zero and stay so.
 */
export function paddedRank(rank: number): number {
  return Math.ceil(rank / 4) * 4;
}

/**
 * The model with low-rank additions on the LLM's named projections, which join its trainables as
 * NAME.lora_A.weight [padded, in] and NAME.lora_B.weight [out, padded], with padded =
 * paddedRank(rank). A is uniform within ±1 / √in, as torch.nn.Linear begins; B is zero. The weights
 * are shared with `model`; `free` of the result gives both back.
 * @throws TrainError  as checkLora
 * @source peft LoraLayer
 */
export function withLora(gpu: Gpu, model: FunAsrNano, options: LoraOptions = {}): FunAsrNano {
  checkLora(options);
  const { rank, alpha, dropout, targets, seed } = loraShape(options);
  const scale = alpha / rank;
  const random = uniformNumbers(seed);
  const added: Trainable[] = [];
  const padded = paddedRank(rank);
  const factor = (name: string, rows: number, columns: number, bound: number): Matrix => {
    const matrix = keepMatrix(gpu, rows, columns, "f32");
    const value = matrix.pieces[0].tensor;
    if (bound > 0 && !isCounting(gpu))
      gpu.write(
        value,
        Float32Array.from({ length: rank * columns }, () => bound * (2 * random() - 1)),
      );
    added.push({ name: `${name}.weight`, value, gradient: gpu.keep(value.shape, "f32") });
    return matrix;
  };
  const layers = model.llm.layers.map((layer, i) => {
    const add = (matrix: Matrix, target: LoraTarget): Projection => {
      const name = projectionName(i, target);
      const a = factor(`${name}.lora_A`, padded, matrix.columns, matrix.columns ** -0.5);
      const b = factor(`${name}.lora_B`, matrix.rows, padded, 0);
      const lora: LowRank = { a, b, scale, dropout, stream: added.length };
      return { ...matrix, lora };
    };
    return targets.reduce((changed, target) => changeProjection(changed, target, add), layer);
  });
  return {
    ...model,
    llm: { ...model.llm, layers },
    trainables: [...model.trainables, ...added],
    free: () => {
      for (const { value, gradient } of added) for (const tensor of [value, gradient]) gpu.free(tensor);
      model.free();
    },
  };
}

/**
 * Where a layer holds each projection: a matrix, or one of several that are loaded each by itself.
 */
const places = {
  q_proj: ["qkvProj", 0],
  k_proj: ["qkvProj", 1],
  v_proj: ["qkvProj", 2],
  o_proj: ["oProj"],
  gate_proj: ["gateUpProj", 0],
  up_proj: ["gateUpProj", 1],
  down_proj: ["downProj"],
} as const;

/** The layer with one projection changed. @throws TrainError  it is not loaded by itself */
function changeProjection(
  layer: Qwen3Layer,
  target: LoraTarget,
  change: (matrix: Matrix, target: LoraTarget) => Projection,
): Qwen3Layer {
  const path = places[target];
  if (path.length === 1) return { ...layer, [path[0]]: change(layer[path[0]], target) };
  const [key, at] = path;
  const parts = layer[key];
  if (parts.length === 1) {
    throw new TrainError(
      `LoRA: ${target} must be loaded by itself, got it joined with others; load with tune`,
    );
  }
  return { ...layer, [key]: parts.map((matrix, i) => (i === at ? change(matrix, target) : matrix)) };
}
