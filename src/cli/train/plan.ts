import { bytes, count, table } from "../../report/text.js";
import { openCheckpoint } from "../../checkpoint/checkpoint.js";
import type { Gpu } from "../../gpu/device.js";
import { type WeightFormat, keepMatrix, freeMatrix } from "../../gpu/matrix.js";
import { add } from "../../kernels/add/add.js";
import { linear } from "../../kernels/linear/linear.js";
import type { ModelConfig } from "../../config/model-config.js";
import { modelFiles } from "../../node/model-files.js";
import { efficiency } from "../../presets.js";
import {
  type DeviceSpeed,
  type HourWork,
  type PlanOptions,
  alignmentWork,
  hourOfAudio,
  hourSeconds,
  hourWork,
  presets,
  trainedParameters,
  trainingMemory,
  typicalBatch,
} from "../../train/plan.js";
import { storedFormat } from "../../train/plan-memory.js";
import { qwen3Sizes, sizeConfig } from "../../train/plan-sizes.js";
import { transposeLimit } from "../../train/plan-weights.js";
import { openDevice } from "../device.js";
import { findModel } from "../model.js";
import { note, print, printJson } from "../output.js";
import type { TrainCliOptions } from "./options.js";

/** Prints memory by part and the time of an hour of audio, for a model or for each Qwen3 size. Loads no weights. */
export async function printPlan(options: TrainCliOptions): Promise<void> {
  const { tune, loraRank: rank, loraTargets: targets } = options;
  const { configs, stored } = await plannedModels(options.model);
  const { weights = stored } = options;
  const { gpu, adapter } = await openDevice();
  const plan: PlanOptions = {
    ...{ tune, weights, rank, targets, transposeLimit: transposeLimit(gpu) },
    batch: typicalBatch(options.batchTokens),
  };
  let devices: readonly DeviceSpeed[];
  try {
    devices = [{ name: adapter.description || adapter.device, ...(await measure(gpu)) }, ...presets];
  } finally {
    gpu.destroy();
  }
  const results = configs.map(([llm, config]) =>
    planOf(llm, config, { ...plan, aligned: options.align > 0 }, devices),
  );
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

interface PlannedModels {
  readonly configs: readonly [name: string, config: ModelConfig][];
  /** How frozen weights are stored. */
  readonly stored: WeightFormat;
}

async function plannedModels(model: string | undefined): Promise<PlannedModels> {
  if (model === undefined)
    return { configs: qwen3Sizes.map((size) => [`Qwen3-${size}`, sizeConfig(size)]), stored: "bf16" };
  const checkpoint = await openCheckpoint(modelFiles(await findModel(model)));
  await checkpoint.close();
  return { configs: [[model, checkpoint.config]], stored: storedFormat(checkpoint) };
}

type Seconds = readonly { readonly device: string; readonly first: number; readonly later: number }[];

interface PlanResult {
  readonly llm: string;
  readonly trainedParameters: number;
  readonly memory: ReturnType<typeof trainingMemory>;
  readonly seconds: Seconds;
  /** Of an alignment, where one is asked for. */
  readonly alignment?: Seconds;
}

function planOf(
  llm: string,
  config: ModelConfig,
  plan: PlanOptions & { readonly aligned: boolean },
  devices: readonly DeviceSpeed[],
): PlanResult {
  const secondsOf = (work: HourWork): Seconds =>
    devices.map((device) => ({ device: device.name, ...hourSeconds(work, device) }));
  return {
    llm,
    trainedParameters: trainedParameters(config, plan.tune, plan.rank, plan.targets),
    memory: trainingMemory(config, plan),
    seconds: secondsOf(hourWork(config, plan)),
    ...(plan.aligned ? { alignment: secondsOf(alignmentWork(config, plan)) } : {}),
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

/** What this adapter's kernels reach: `linear` of [512, 1024] by [1024, 1024], `add` of 4 M values. */
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
