import type { Gpu } from "../gpu/device.js";
import { notANumber } from "../kernels/argmax/argmax.js";
import type { Picker } from "./loop.js";
import { uniformNumbers } from "../random.js";
import { type SamplingOptions, checkSampling, choose, processScores, softmax } from "./sampling.js";

/**
 * True where tokens are drawn: any option but a repetition penalty is given. False: the likeliest
 * is taken.
 */
export function isSampled({ temperature, topK, topP, minP, seed }: SamplingOptions): boolean {
  return [temperature, topK, topP, minP, seed].some((value) => value !== undefined);
}

/**
 * Picks from scores that are read back: drawn where the options say so, else the likeliest after
 * the repetition penalty. Sequence i draws with random numbers from seed + i, so that its tokens do
 * not depend on the batch.
 * @param prompts  tokens of each sequence's prompt
 * @throws DecodeError  an option out of range
 */
export function samplingPicker(
  gpu: Gpu,
  prompts: readonly (readonly number[])[],
  options: SamplingOptions,
): Picker {
  checkSampling(options);
  const drawn = isSampled(options);
  const sequences = prompts.map((ids, i) => ({
    seen: new Set(ids),
    uniform: uniformNumbers((options.seed ?? 0) + i),
  }));
  return {
    onDevice: false,
    record: (logits) => logits,
    pick(data, ids, running) {
      const width = data.length / sequences.length;
      const picked = new Uint32Array(sequences.length);
      for (const [i, { seen, uniform }] of sequences.entries()) {
        if (!running[i]) continue;
        const scores = processScores(
          data.subarray(i * width, (i + 1) * width) as Float32Array,
          seen,
          options,
        );
        picked[i] = drawn ? draw(scores, uniform) : likeliest(scores);
        seen.add(picked[i]);
      }
      gpu.write(ids, picked);
      return picked;
    },
  };
}

function draw(scores: Float32Array, uniform: () => number): number {
  const probabilities = softmax(scores);
  return probabilities.some(Number.isNaN) ? notANumber : choose(probabilities, uniform());
}

/** The token of the highest score, the lowest of equals; `notANumber` where a score is none. */
export function likeliest(scores: Float32Array): number {
  let best = 0;
  for (let i = 0; i < scores.length; i++) {
    if (Number.isNaN(scores[i])) return notANumber;
    if (scores[i] > scores[best]) best = i;
  }
  return best;
}
