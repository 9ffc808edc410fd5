import { bytes, count, table } from "../../report/text.js";
import { type CountedDevice, countedDevice } from "../../gpu/counting.js";
import type { Gpu } from "../../gpu/device.js";
import { GpuError } from "../../gpu/errors.js";
import { type WeightFormat, keepMatrix, freeMatrix } from "../../gpu/matrix.js";
import { add } from "../../kernels/add/add.js";
import { linear } from "../../kernels/linear/linear.js";
import type { ModelConfig } from "../../config/model-config.js";
import { efficiency } from "../../presets.js";
import { usualDevice } from "../../profile/predict.js";
import {
  type DeviceSpeed,
  type HourWork,
  type PlanOptions,
  type TrainingMemory,
  hourOfAudio,
  hourSeconds,
  planTraining,
  presets,
} from "../../train/plan.js";
import { qwen3Sizes, sizeConfig } from "../../train/plan-sizes.js";
import { elementCount } from "../../shape.js";
import type { ParameterSource } from "../../weights/loader.js";
import { weightFormat } from "../../weights/pieces.js";
import { shapeSource } from "../../weights/shapes.js";
import { withDevice } from "../device.js";
import { openModel } from "../model.js";
import { note, print, printJson } from "../output.js";
import type { TrainCliOptions } from "./options.js";

/**
 * Prints memory by part and the time of an hour of audio, for a model or for each Qwen3 size. Loads
 * no weights.
 */
export async function printPlan(options: TrainCliOptions): Promise<void> {
  const { tune, batchTokens } = options;
  const { models, stored } = await plannedModels(options.model);
  const { weights = stored } = options;
  const [device, devices] = await withDevice(
    async ({ gpu, adapter }): Promise<[CountedDevice, readonly DeviceSpeed[]]> => [
      countedDevice(gpu),
      [{ name: adapter.description || adapter.device, ...(await measure(gpu)) }, ...presets],
    ],
  );
  const lora = { rank: options.loraRank, targets: options.loraTargets };
  const plan: PlanOptions = {
    tune,
    weights: options.weights,
    lora,
    batchTokens,
    device,
    aligned: options.align > 0,
  };
  const results: PlanResult[] = [];
  for (const model of models) results.push(await planOf(model, plan, devices));
  if (options.json) {
    for (const result of results) printJson(result);
    return;
  }
  print(
    `memory: tune ${tune.join(", ")}; frozen weights ${weights}; ${count(options.batchTokens)} tokens a micro-batch`,
  );
  print(memoryTable(results));
  print("");
  print("time of an hour of audio: first epoch / later ones, whose encoder outputs are on disk");
  print(timeTable(results, devices));
  if (options.align > 0) {
    print("");
    print(`the same of the first ${count(options.align)} steps, which align`);
    print(
      timeTable(
        results.map(({ llm, alignment = [] }) => ({ llm, seconds: alignment })),
        devices,
      ),
    );
  }
  const { clipSeconds, answerRate, promptTokens } = hourOfAudio;
  note(
    `counted for clips of ${clipSeconds} s, answers of ${answerRate} tokens a second, prompts of ${promptTokens} tokens; this adapter as measured now, the others at ${(100 * efficiency.flops).toFixed(0)} % of their f32 peak and ${100 * efficiency.bandwidth} % of their bandwidth`,
  );
}

interface PlannedModel {
  readonly llm: string;
  readonly config: ModelConfig;
  readonly source: ParameterSource;
}

interface PlannedModels {
  readonly models: readonly PlannedModel[];
  /** Storage of most frozen weights. */
  readonly stored: WeightFormat;
}

async function plannedModels(model: string | undefined): Promise<PlannedModels> {
  if (model === undefined) {
    const models = qwen3Sizes.map((size) => {
      const config = sizeConfig(size);
      return { llm: `Qwen3-${size}`, config, source: shapeSource(config) };
    });
    return { models, stored: "bf16" };
  }
  const checkpoint = await openModel(model);
  await checkpoint.close();
  const models = [{ llm: model, config: checkpoint.config, source: checkpoint }];
  return { models, stored: storedFormat(checkpoint) };
}

/** The format of a checkpoint's largest matrix. */
function storedFormat({ tensors }: ParameterSource): WeightFormat {
  let [largest, found]: [number, WeightFormat] = [0, "bf16"];
  for (const { dtype, shape } of tensors.values()) {
    const format = shape.length === 2 ? weightFormat(dtype, shape[1]) : undefined;
    if (!format || elementCount(shape) <= largest) continue;
    [largest, found] = [elementCount(shape), format];
  }
  return found;
}

type Seconds = readonly { readonly device: string; readonly first: number; readonly later: number }[];

interface PlanResult {
  readonly llm: string;
  readonly trainedParameters: number;
  readonly memory: TrainingMemory;
  readonly seconds: Seconds;
  /** Of an alignment, where one is asked for. */
  readonly alignment?: Seconds;
}

async function planOf(
  { llm, config, source }: PlannedModel,
  plan: PlanOptions,
  devices: readonly DeviceSpeed[],
): Promise<PlanResult> {
  const secondsOf = (work: HourWork): Seconds =>
    devices.map((device) => ({ device: device.name, ...hourSeconds(work, device) }));
  const planned = await planTraining(config, plan, source).catch((error: unknown) => {
    if (!(error instanceof GpuError)) throw error; // a batch that this device cannot bind
    note(`${llm}: ${error.message}; counted for a GPU that binds 2 GiB at once`);
    const device = { ...plan.device, limits: usualDevice.limits };
    return planTraining(config, { ...plan, device }, source);
  });
  const { trainedParameters, memory, work, alignment } = planned;
  return {
    llm,
    trainedParameters,
    memory,
    seconds: secondsOf(work),
    ...(alignment ? { alignment: secondsOf(alignment) } : {}),
  };
}

function memoryTable(results: readonly PlanResult[]): string {
  const head = [
    "llm",
    "trained",
    "frozen weights",
    "training state",
    "activations",
    "scores",
    "working",
    "transposed",
    "total",
  ];
  const rows = results.map(({ llm, trainedParameters: trained, memory: m }) => [
    llm,
    count(trained),
    ...[m.frozenWeights, m.trained, m.activations, m.scores, m.working, m.transposed, m.total].map(bytes),
  ]);
  return table([head, ...rows], [1, 2, 3, 4, 5, 6, 7, 8]);
}

function timeTable(
  results: readonly Pick<PlanResult, "llm" | "seconds">[],
  devices: readonly DeviceSpeed[],
): string {
  const head = ["llm", ...devices.map(({ name }) => name.split(":")[0])];
  const rows = results.map(({ llm, seconds }) => [
    llm,
    ...seconds.map(({ first, later }) => `${duration(first)} / ${duration(later)}`),
  ]);
  return table([head, ...rows]);
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(seconds < 36_000 ? 1 : 0)} h`;
}

/**
 * The speed of this adapter's kernels: `linear` of [512, 1024] by [1024, 1024], `add` of 4 M values.
 */
async function measure(gpu: Gpu): Promise<{ flops: number; bandwidth: number }> {
  const [rows, width] = [512, 1024];
  const length = 1 << 22;
  const w = keepMatrix(gpu, width, width, "bf16");
  const [x, a] = [gpu.keep([rows, width], "f32"), gpu.keep([length], "f32")];
  const fastest = async (op: () => unknown): Promise<number> => {
    let best = Infinity;
    for (let i = 0; i < 4; i++) {
      const start = performance.now();
      await gpu.step(() => (op(), []));
      await gpu.finish();
      best = Math.min(best, (performance.now() - start) / 1000);
    }
    return best;
  };
  try {
    const flops = (2 * rows * width * width) / (await fastest(() => linear(gpu, x, w)));
    const bandwidth = (12 * length) / (await fastest(() => add(gpu, a, a)));
    return { flops, bandwidth };
  } finally {
    freeMatrix(gpu, w);
    for (const tensor of [x, a]) gpu.free(tensor);
  }
}
