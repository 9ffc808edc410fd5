import { digits, table } from "../report/text.js";
import { transcription } from "../decode/clip-work.js";
import { type WeightFormat } from "../gpu/matrix.js";
import { loadFunAsrNano } from "../model/fun-asr-nano.js";
import { type CheckedStage, checkStages, tolerance } from "../profile/check.js";
import type { ClipSizes } from "../profile/predict.js";
import { withDevice } from "./device.js";
import { findModel, openModel } from "./model.js";
import { exitCode, print, printJson, status } from "./output.js";

export interface CheckOptions extends ClipSizes {
  readonly model: string;
  readonly weights?: WeightFormat;
  readonly json?: boolean;
}

/**
 * `bench --predict --check`: compares the formula with this adapter. A stage outside the tolerance
 * is a failure.
 */
export async function checkPredictions(options: CheckOptions): Promise<void> {
  const { seconds, tokens, json } = options;
  const path = await findModel(options.model);
  await withDevice(async ({ gpu, adapter: info }) => {
    const checkpoint = await openModel(path);
    const model = await loadFunAsrNano(gpu, checkpoint.config, checkpoint, {
      weights: options.weights,
      use: transcription(checkpoint.config, checkpoint),
    }).finally(() => checkpoint.close());
    const weights = model.llm.layers[0].oProj.format;
    status("measuring");
    const name = info.description || info.device;
    const { adapter, shares, stages } = await checkStages(gpu, model, options, { name, weights });
    const about = { adapter, shares, model: options.model, weights, seconds, tokens, tolerance };
    if (json) printJson({ ...about, stages });
    else show(stages);
    if (stages.some(({ within }) => !within)) process.exitCode = exitCode.inputFailed;
  });
}

const names = { audio: "encoder and adaptor", prompt: "prompt", token: "a token" } as const;

function show(stages: readonly CheckedStage[]): void {
  const rows = stages.map(({ stage, predicted, measured, ratio, within }) => [
    names[stage],
    ...[predicted, measured.min, measured.median, measured.max].map((value) => digits(1000 * value)),
    `${ratio.toFixed(2)} ×`,
    within ? "ok" : `more than ${100 * tolerance} % apart`,
  ]);
  const head = ["stage", "predicted, ms", "measured, min", "median", "max", "of the median", "verdict"];
  print(table([head, ...rows], [1, 2, 3, 4, 5]));
}
