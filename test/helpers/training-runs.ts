import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import type { ModelConfig } from "../../src/config/model-config.js";
import { countedDevice, countingGpu } from "../../src/gpu/counting.js";
import type { Gpu } from "../../src/gpu/device.js";
import { modelFiles } from "../../src/node/model-files.js";
import { type BatchRows, CountedTraining, type TrainedModel } from "../../src/train/counted.js";
import { train } from "../../src/train/loop.js";
import type { StepMetrics, ValidationMetrics } from "../../src/train/metrics.js";
import { type AskedOptions, defaultOptions } from "../../src/train/options.js";
import { type TrainingMemory, countMemory } from "../../src/train/plan.js";
import { type SessionSetup, openSession } from "../../src/train/session.js";
import { shapeSource } from "../../src/weights/shapes.js";
import { type TrainingDirectory, trainingDirectory } from "./training.js";

/** What a run has that others have not. */
export interface Change extends Partial<Omit<SessionSetup, "options">> {
  readonly options?: Partial<AskedOptions>;
}

/** What a run did. */
export interface Outcome {
  readonly steps: StepMetrics[];
  readonly validations: ValidationMetrics[];
  readonly alarms: string[];
  /** Lines about saved states that were damaged. */
  readonly fallbacks: string[];
  /** Rows that the cache did not have. */
  readonly computed: number;
}

export interface TrainingRuns {
  /** Of the tests of one file; not before the tests begin. */
  readonly directory: () => TrainingDirectory;
  /** Four steps at a constant rate, each run in a directory of its own, all with one cache. */
  readonly setup: (change?: Change) => SessionSetup;
  /** Trains; stops as if interrupted behind so many steps. */
  readonly run: (
    change?: Change,
    how?: { readonly resume?: boolean; readonly stop?: number },
  ) => Promise<Outcome>;
}

class Stopped extends Error {}

/** Runs on the tiny checkpoint of a trainingDirectory, which lasts as long as the test file. */
export function useTraining(gpu: () => Gpu): TrainingRuns {
  let made: TrainingDirectory | undefined;
  let runs = 0;
  beforeAll(async () => void (made = await trainingDirectory()));
  afterAll(() => made?.remove());
  const directory = (): TrainingDirectory => made!;

  function setup({ options, ...change }: Change = {}): SessionSetup {
    const { path, data } = directory();
    return {
      model: modelFiles(join(path, "model")),
      data,
      tune: ["adaptor"],
      out: join(path, `run-${++runs}`),
      cache: join(path, "cache"),
      skipBad: false,
      onBad: () => undefined,
      ...change,
      options: {
        ...defaultOptions,
        steps: 4,
        warmup: 0,
        learningRate: 3e-3,
        schedule: "constant",
        batchTokens: 400,
        every: 100,
        decode: 0,
        ...options,
      },
    };
  }

  async function run(change: Change = {}, { resume = false, stop = Infinity } = {}): Promise<Outcome> {
    const session = await openSession(gpu(), setup({ ...change, resume }));
    const { computed } = session.run.corpus;
    const outcome: Outcome = { steps: [], validations: [], alarms: [], fallbacks: [], computed };
    try {
      await train(session.run, resume, {
        onStep: (step) => {
          if (outcome.steps.push(step) === stop) throw new Stopped();
        },
        onValidation: (validation) => outcome.validations.push(validation),
        onAlarm: (message) => outcome.alarms.push(message),
        onFallback: (message) => outcome.fallbacks.push(message),
      });
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    } finally {
      session.free();
    }
    return outcome;
  }

  return { directory, setup, run };
}

/** Bytes of a training step of these sizes, counted for a device. */
export async function plannedBytes(
  gpu: Gpu,
  config: ModelConfig,
  trained: TrainedModel,
  rows: BatchRows,
): Promise<TrainingMemory> {
  const counting = countingGpu(countedDevice(gpu));
  const training = await CountedTraining.load(counting, config, shapeSource(config), trained);
  return (await countMemory(training, rows))[0];
}
