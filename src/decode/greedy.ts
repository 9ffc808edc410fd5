import { FunasrError } from "../errors.js";
import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { argmax, notANumber } from "../kernels/argmax/argmax.js";
import { takeRows } from "../kernels/copy-rows/copy-rows.js";
import { embedding } from "../kernels/embedding/embedding.js";
import { type FunAsrNano, type PromptTokens, promptEmbeddings } from "../model/fun-asr-nano.js";
import { KvCache } from "../model/kv-cache.js";
import { lmHead, qwen3 } from "../model/qwen3.js";
import { loopStart } from "./guards.js";

/** Decoding was asked for what cannot be, or the model's scores are no numbers. */
export class DecodeError extends FunasrError {}

/** Why decoding ended: a stop token, the limit of new tokens, or a repeating cycle that was cut. */
export type Finish = "stop" | "length" | "loop";

export interface Decoded {
  /** Without the stop token and, where a loop was cut, without its repeats. */
  readonly tokenIds: readonly number[];
  readonly finish: Finish;
}

export interface GreedyOptions {
  readonly stopIds: ReadonlySet<number>;
  /** New tokens of each sequence at most. */
  readonly maxNewTokens: readonly number[];
  /** Whether repeating cycles end a sequence. Default: true. */
  readonly guardLoops?: boolean;
  /** Called with each token that joins a sequence's result, as it comes. */
  readonly onToken?: (sequence: number, id: number) => void;
  /** Called once the prompt has been read and the first token is there. */
  readonly onPrefill?: () => void;
}

interface Sequence {
  readonly tokenIds: number[];
  finish?: Finish;
}

/** Takes in one more token; sets `finish` when the sequence ends with it. */
function accept(sequence: Sequence, id: number, limit: number, options: GreedyOptions): boolean {
  if (id === notANumber) {
    throw new DecodeError(
      `decode: token ${sequence.tokenIds.length}: expected finite scores, got NaN; the weights or the audio features are damaged`,
    );
  }
  if (options.stopIds.has(id)) {
    sequence.finish = "stop";
    return false;
  }
  sequence.tokenIds.push(id);
  const cut = options.guardLoops === false ? undefined : loopStart(sequence.tokenIds);
  if (cut !== undefined) {
    sequence.tokenIds.length = cut;
    sequence.finish = "loop";
  } else if (sequence.tokenIds.length >= limit) {
    sequence.finish = "length";
  }
  return true;
}

/**
 * Greedy decoding of a batch of prompts: one prefill, then one submit a token for all sequences.
 * A sequence that has ended keeps its row until the last one ends, so that the steps stay the same.
 * @param audio  [ΣL, D] f32, held: the clips' embeddings in the order of the prompts
 */
export async function greedy(
  gpu: Gpu,
  model: FunAsrNano,
  prompts: readonly PromptTokens[],
  audio: Tensor,
  options: GreedyOptions,
): Promise<Decoded[]> {
  const { maxNewTokens } = options;
  const sequences = prompts.map((): Sequence => ({ tokenIds: [] }));
  const cache = new KvCache(
    gpu,
    model.config.llm,
    prompts.map(({ ids }, i) => ids.length + maxNewTokens[i]),
  );
  const ids = gpu.keep([prompts.length], "u32"); // the newest token of each sequence, written and read on the GPU
  const take = (data: ArrayLike<number>): void => {
    for (const [i, sequence] of sequences.entries()) {
      if (sequence.finish) continue;
      if (accept(sequence, data[i], maxNewTokens[i], options)) options.onToken?.(i, data[i]);
    }
  };
  try {
    const [first] = await gpu.step(() => [prefill(gpu, model, prompts, audio, cache, ids)]);
    options.onPrefill?.();
    take(first);
    while (sequences.some(({ finish }) => !finish)) {
      const [next] = await gpu.step(() => {
        const ended = sequences.map(({ finish }) => finish !== undefined);
        const rows = cache.append(
          prompts.map(() => 1),
          ended,
        );
        const hidden = qwen3(gpu, model.llm, embedding(gpu, ids, model.llm.embedTokens), rows, cache);
        return [argmax(gpu, lmHead(gpu, model.llm, hidden), ids)];
      });
      take(next);
    }
  } finally {
    cache.free();
    gpu.free(ids);
  }
  return sequences.map(({ tokenIds, finish }) => ({ tokenIds, finish: finish! }));
}

function prefill(
  gpu: Gpu,
  model: FunAsrNano,
  prompts: readonly PromptTokens[],
  audio: Tensor,
  cache: KvCache,
  ids: Tensor,
): Tensor {
  const embeds = promptEmbeddings(gpu, model, prompts, audio);
  const hidden = qwen3(
    gpu,
    model.llm,
    embeds,
    cache.append(prompts.map((prompt) => prompt.ids.length)),
    cache,
  );
  let row = -1;
  const last = prompts.map((prompt) => (row += prompt.ids.length));
  return argmax(gpu, lmHead(gpu, model.llm, takeRows(gpu, hidden, last)), ids);
}
