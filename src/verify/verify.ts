import { expectArgument } from "../arguments.js";
import { isGgmlType } from "../formats/container.js";
import {
  type SafetensorsFile,
  findTensor,
  readFloat32,
  readTensor,
} from "../checkpoint/safetensors/safetensors.js";
import type { Gpu, TensorData } from "../gpu/device.js";
import { expectGpu } from "../gpu/errors.js";
import { type Updates, judgeSteps, judgeUpdated, judgeZero } from "./amplified.js";
import { type Bundle, readIds, refuse } from "./bundle.js";
import { type StageResult, compareIds, compareStage, difference, failedStage, unjudged } from "./compare.js";
import { type RunOptions, runBundle } from "./run.js";
import { judgeSmall } from "./small.js";
import { updateReach } from "./train.js";

/**
 * Order in which the pipeline makes stages, so that the first failure in a table is the first
 * divergence.
 */
const order = [
  "frontend.resampled",
  "frontend.fbank",
  "input",
  "encoder.stem",
  "encoder.layers",
  "encoder.norm",
]
  .concat(["encoder.tp_layers", "encoder.output", "adaptor.projector", "adaptor.blocks"])
  .concat(["ctc.projector", "ctc.blocks", "ctc.logits"])
  .concat([
    "vad.in_linear1",
    "vad.in_linear2",
    "vad.blocks",
    "vad.out_linear1",
    "vad.out_linear2",
    "vad.silence",
  ])
  .concat(["llm.inputs_embeds", "llm.layers", "llm.norm", "logits", "generated_ids", "loss", "grad"]);

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

function place(stage: string): number {
  const group = order.findIndex((prefix) => stage === prefix || stage.startsWith(`${prefix}.`));
  return (
    (group < 0 ? order.length : group) * 10_000 + Number(/(\d+)(\.memory|\.output)?$/.exec(stage)?.[1] ?? 0)
  );
}

async function readFloat64(file: SafetensorsFile, name: string): Promise<Float64Array> {
  const bytes = await readTensor(file, name);
  return new Float64Array(bytes.slice().buffer);
}

/**
 * Runs a bundle and compares every stage that it holds. A stage that was not computed, has another
 * shape, no f64 twin or a NaN fails. Under weights of few bits (q8, q4, blocks of a GGUF file)
 * errors are measured and not judged.
 * @throws  the signal's reason
 */
export async function verifyBundle(
  gpu: Gpu,
  bundle: Bundle,
  options: RunOptions = {},
): Promise<StageResult[]> {
  expectGpu("verifyBundle", gpu);
  expectArgument(
    "verifyBundle: bundle",
    "stages" in Object(bundle),
    "a bundle, as openBundle(SOURCE) gives",
    bundle,
  );
  const computed = await runBundle(gpu, bundle, options);
  const stages = [...bundle.stages].sort((a, b) => place(a) - place(b));
  const rounded = isRounded(options);
  const results: StageResult[] = [];
  const scale = await gradientScale(bundle);
  for (const stage of stages) {
    options.signal?.throwIfAborted();
    const result = await verifyStage(bundle, stage, computed, scale);
    const measured = result.problem === undefined || isIdsApart(result);
    results.push(rounded && measured ? unjudged(result) : result);
  }
  return judgeSmall(results);
}

/** Stages by their names in the bundle: floats row-major, and token ids. */
interface Outputs {
  readonly floats: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: TensorData }>;
  readonly ids: ReadonlyMap<string, readonly number[]>;
}

/**
 * Judges stages that another program computed by the rule that judges this engine.
 * @throws CheckpointError  a name that the bundle does not hold; the signal's reason
 */
export async function verifyOutputs(
  bundle: Bundle,
  outputs: Outputs["floats"],
  { signal }: Pick<RunOptions, "signal"> = {},
): Promise<StageResult[]> {
  signal?.throwIfAborted();
  for (const name of outputs.keys())
    if (!bundle.stages.includes(name))
      refuse(bundle.file, `stage ${name}`, `one of ${bundle.stages.join(", ")}`, "none of them");
  const stages = [...outputs.keys()].sort((a, b) => place(a) - place(b));
  const scale = await gradientScale(bundle);
  const results: StageResult[] = [];
  for (const stage of stages) {
    signal?.throwIfAborted();
    results.push(await verifyStage(bundle, stage, { floats: outputs, ids: new Map() }, scale));
  }
  return judgeSmall(results);
}

/** Whether token ids were compared and some differ. */
function isIdsApart({ ratio, error }: StageResult): boolean {
  return ratio === Infinity && Number.isFinite(error);
}

/** Whether weights are blocks of few bits, in the file or on the GPU. */
function isRounded({ weights, parameters }: RunOptions): boolean {
  if (weights === "q8" || weights === "q4") return true;
  return [...(parameters?.tensors.values() ?? [])].some(({ dtype }) => isGgmlType(dtype));
}

/** The scale of a bundle's gradient errors. */
interface GradientScale {
  /**
   * RMS that a gradient's error is measured against at least: a hundredth of that of all gradients
   * together.
   */
  readonly floor: number;
  /** RMS of all gradients together. */
  readonly whole: number;
  /**
   * PyTorch's largest error of a gradient that is zero by symmetry (softmax does not see k_proj's
   * bias): rounding alone.
   */
  readonly noise: number;
  /** Names of the gradients that are zero by symmetry. */
  readonly zeros: ReadonlySet<string>;
}

async function gradientScale({ file, stages }: Bundle): Promise<GradientScale> {
  const sizes = new Map<string, number>();
  let squares = 0;
  let count = 0;
  for (const stage of stages.filter((name) => name.startsWith("grad.") && file.tensors.has(`f64.${name}`))) {
    const values = await readFloat64(file, `f64.${stage}`);
    const sum = values.reduce((total, value) => total + value * value, 0);
    sizes.set(stage, Math.sqrt(sum / values.length));
    squares += sum;
    count += values.length;
  }
  const whole = Math.sqrt(squares / Math.max(count, 1));
  const zeros = new Set([...sizes].filter(([, size]) => size < 1e-9 * whole).map(([stage]) => stage));
  const floor = 1e-2 * whole;
  let noise = 0;
  for (const stage of zeros) {
    const torch = await readFloat32(file, stage);
    const f64 = await readFloat64(file, `f64.${stage}`);
    noise = Math.max(noise, difference(torch, f64, floor).error);
  }
  return { floor, whole, noise, zeros };
}

async function verifyStage(
  bundle: Bundle,
  stage: string,
  computed: Outputs,
  scale: GradientScale,
): Promise<StageResult> {
  const { file } = bundle;
  const { shape, dtype } = findTensor(file, stage);
  const where = { bundle: bundle.name, stage, shape };
  if (dtype === "I64") {
    const ids = computed.ids.get(stage);
    if (!ids) return failedStage(where, "the bundle holds this stage, the engine did not compute it");
    return compareIds(where, ids, await readIds(bundle, stage));
  }
  const ours = computed.floats.get(stage);
  if (!ours) return failedStage(where, "the bundle holds this stage, the engine did not compute it");
  if (!sameShape(ours.shape, shape)) {
    return failedStage(where, `shape: want [${shape.join(", ")}], got [${ours.shape.join(", ")}]`);
  }
  const twin = file.tensors.get(`f64.${stage}`);
  if (twin?.dtype !== "F64" || !sameShape(twin.shape, shape)) {
    return failedStage(
      where,
      `f64.${stage}: want F64 [${shape.join(", ")}], got ${twin ? `${twin.dtype} [${twin.shape.join(", ")}]` : "none"}`,
    );
  }
  const { floor, whole, noise, zeros } = scale;
  const torch = await readFloat32(file, stage);
  const f64 = await readFloat64(file, `f64.${stage}`);
  const options = stage.startsWith("grad.") ? { floor, leastTorchError: zeros.has(stage) ? noise : 0 } : {};
  const result = compareStage(where, ours.data, torch, f64, options);
  const arrays = { got: ours.data, torch, f64 };
  if (stage === "losses" || stage === "norms") return judgeSteps(result, arrays);
  if (zeros.has(stage)) return judgeZero(result, arrays, whole);
  const updates = result.ok ? undefined : await stageUpdates(bundle, stage, scale);
  return updates ? judgeUpdated(result, arrays, updates) : result;
}

/**
 * The AdamW updates of a `final.` stage; undefined for other stages and where the bundle lacks the
 * gradient.
 */
async function stageUpdates(
  bundle: Bundle,
  stage: string,
  { zeros }: GradientScale,
): Promise<Updates | undefined> {
  const gradient = stage.replace(/^final\./, "grad.");
  const { tensors } = bundle.file;
  if (gradient === stage || !tensors.has(gradient) || !tensors.has(`f64.${gradient}`)) return undefined;
  return {
    gradient: await readFloat64(bundle.file, `f64.${gradient}`),
    torchGradient: await readFloat32(bundle.file, gradient),
    zero: zeros.has(gradient),
    reach: updateReach(bundle),
  };
}
