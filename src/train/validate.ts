import { answerLimit } from "../decode/answer-limit.js";
import { greedy } from "../decode/greedy.js";
import { characterErrorRate } from "../evaluate/metrics/cer.js";
import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { type FunAsrNano, adapt } from "../model/fun-asr-nano.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { meanPairwiseCosine } from "./alarms.js";
import { makeBatch } from "./batch.js";
import { cut } from "./batches.js";
import { type Corpus, type TrainClip, clipTokens } from "./corpus.js";
import { type TrainingBatch, answerLosses, encoderStates } from "./forward.js";
import type { ValidationMetrics } from "./metrics.js";
import { concatenated } from "../frontend/audio.js";

/** Clips of a validation. */
export interface ValidationSet {
  readonly clips: readonly TrainClip[];
  readonly tokenizer: Tokenizer;
  readonly stopIds: ReadonlySet<number>;
}

interface Parts {
  readonly gpu: Gpu;
  readonly model: FunAsrNano;
  readonly corpus: Corpus;
  readonly clips: readonly TrainClip[];
  readonly validation: ValidationSet;
  readonly options: { readonly batchTokens: number; readonly decode: number };
}

const cosineClips = 8; // whose adaptor outputs are compared

/**
 * Teacher-forced loss over all validation clips, character errors of the first ones decoded,
 * likeness of the adaptor's outputs.
 */
export async function validate(run: Parts, step: number): Promise<ValidationMetrics> {
  const start = performance.now();
  const { clips } = run.validation;
  const loss = await teacherForced(run, clips);
  const cer = await decodedErrors(run, clips.slice(0, run.options.decode));
  const cosine = await outputCosine(run, (clips.length > 0 ? clips : run.clips).slice(0, cosineClips));
  const seconds = (performance.now() - start) / 1000;
  return {
    step,
    validation: {
      ...(loss === undefined ? {} : { loss }),
      ...(cer === undefined ? {} : { cer }),
      cosine,
      seconds,
    },
  };
}

/** Clips in their order, as batches of the token budget. */
function batches(clips: readonly TrainClip[], budget: number): TrainClip[][] {
  const order = clips.map((_, i) => i);
  return cut(order, clips.map(clipTokens), budget).map((members) => members.map((i) => clips[i]));
}

/** Mean loss of the answer tokens, nats; undefined where there are no clips. */
async function teacherForced(
  { gpu, model, corpus, options }: Parts,
  clips: readonly TrainClip[],
): Promise<number | undefined> {
  let total = 0;
  let count = 0;
  for (const members of batches(clips, options.batchTokens)) {
    const batch = await makeBatch(corpus, members);
    const [losses] = await gpu.step(() => [answerLosses(gpu, model, batch)]);
    for (const loss of losses) total += loss;
    count += losses.length;
  }
  return count === 0 ? undefined : total / count;
}

/**
 * Character error rate of greedy decoding, cut and scored as `evaluate` does. Undefined where there
 * are no clips.
 */
async function decodedErrors(run: Parts, clips: readonly TrainClip[]): Promise<number | undefined> {
  const { gpu, model, corpus, validation, options } = run;
  const { maxPositions } = model.config.llm;
  const pairs: [string, string][] = [];
  for (const members of batches(clips, options.batchTokens)) {
    const audio = await adapted(gpu, model, await makeBatch(corpus, members));
    const prompts = members.map(({ prompt }) => prompt);
    const maxNewTokens = members.map(({ prompt, frames }) =>
      answerLimit({ frames, promptTokens: prompt.ids.length }, maxPositions),
    );
    const { stopIds, tokenizer } = validation;
    const decoded = await greedy(gpu, model, prompts, audio, { stopIds, maxNewTokens }).finally(() =>
      gpu.release(audio),
    );
    for (const [i, { tokenIds }] of decoded.entries())
      pairs.push([members[i].utterance.text, tokenizer.decode(tokenIds, { skipSpecial: true }).trim()]);
  }
  const { rate } = characterErrorRate(pairs);
  return Number.isNaN(rate) ? undefined : rate;
}

/** The adaptor's outputs of a batch, held. */
async function adapted(gpu: Gpu, model: FunAsrNano, batch: TrainingBatch): Promise<Tensor> {
  let made: Tensor | undefined;
  await gpu.step(() => {
    made = gpu.hold(adapt(gpu, model, encoderStates(gpu, model, batch), batch.frames));
    return [];
  });
  return made!;
}

async function outputCosine({ gpu, model, corpus }: Parts, clips: readonly TrainClip[]): Promise<number> {
  const rows: Float32Array[] = [];
  for (const clip of clips) {
    const batch = await makeBatch(corpus, [clip]);
    const [states] = await gpu.step(() => [
      adapt(gpu, model, encoderStates(gpu, model, batch), batch.frames),
    ]);
    rows.push(states as Float32Array);
  }
  return meanPairwiseCosine(concatenated(rows), model.config.adaptor.hiddenSize);
}
