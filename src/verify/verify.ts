import { isGgmlType } from "../checkpoint/container.js";
import { type SafetensorsFile, findTensor, readFloat32, readTensor } from "../checkpoint/safetensors.js";
import type { Gpu } from "../gpu/device.js";
import { type Bundle, readIds } from "./bundle.js";
import { type StageResult, compareIds, compareStage, failedStage, unjudged } from "./compare.js";
import { type Computed, type RunOptions, runBundle } from "./run.js";

/** Order in which the pipeline makes stages, so that the first failure in a table is the first divergence. */
const order = [
  "frontend.resampled",
  "frontend.fbank",
  "input",
  "encoder.stem",
  "encoder.layers",
  "encoder.norm",
]
  .concat(["encoder.tp_layers", "encoder.output", "adaptor.projector", "adaptor.blocks"])
  .concat(["llm.inputs_embeds", "llm.layers", "llm.norm", "logits", "generated_ids"]);

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

function place(stage: string): number {
  const group = order.findIndex((prefix) => stage === prefix || stage.startsWith(`${prefix}.`));
  return (group < 0 ? order.length : group) * 10_000 + Number(/\d+$/.exec(stage)?.[0] ?? 0);
}

async function readFloat64(file: SafetensorsFile, name: string): Promise<Float64Array> {
  const bytes = await readTensor(file, name);
  return new Float64Array(bytes.slice().buffer);
}

/**
 * Runs a bundle and compares every stage that it holds. A stage that was not computed, has another shape, no f64 twin
 * or a NaN fails. Under weights of few bits (q8, q4, blocks of a GGUF file) errors are measured and not judged.
 */
export async function verifyBundle(
  gpu: Gpu,
  bundle: Bundle,
  options: RunOptions = {},
): Promise<StageResult[]> {
  const computed = await runBundle(gpu, bundle, options);
  const stages = [...bundle.stages].sort((a, b) => place(a) - place(b));
  const rounded = isRounded(options);
  const results: StageResult[] = [];
  for (const stage of stages) {
    const result = await verifyStage(bundle, stage, computed);
    const measured = result.problem === undefined || isIdsApart(result);
    results.push(rounded && measured ? unjudged(result) : result);
  }
  return results;
}

/** Token ids were compared and some differ, which is no problem of the run. */
function isIdsApart({ ratio, error }: StageResult): boolean {
  return ratio === Infinity && Number.isFinite(error);
}

/** Whether weights are blocks of few bits, in the file or on the GPU. */
function isRounded({ weights, parameters }: RunOptions): boolean {
  if (weights === "q8" || weights === "q4") return true;
  return [...(parameters?.tensors.values() ?? [])].some(({ dtype }) => isGgmlType(dtype));
}

async function verifyStage(bundle: Bundle, stage: string, computed: Computed): Promise<StageResult> {
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
  return compareStage(
    where,
    ours.data,
    await readFloat32(file, stage),
    await readFloat64(file, `f64.${stage}`),
  );
}
