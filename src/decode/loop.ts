import { FunasrError } from "../errors.js";
import type { Gpu, TensorData } from "../gpu/device.js";
import type { Program } from "../gpu/recorder.js";
import type { Tensor } from "../gpu/tensor.js";
import { notANumber } from "../kernels/argmax/argmax.js";
import { embedding } from "../kernels/embedding/embedding.js";
import { KvCache } from "../model/kv-cache.js";
import { type Qwen3, lmHead, qwen3 } from "../model/qwen3.js";
import { loopStart } from "./guards.js";

/** Options of decoding that cannot be met, or scores that are no numbers. */
export class DecodeError extends FunasrError {}

/** Why decoding ended: a stop token, the limit of new tokens, or a repeating cycle that was cut. */
export type Finish = "stop" | "length" | "loop";

export interface Decoded {
  /** Without the stop token and, where a loop was cut, without its repeats. */
  readonly tokenIds: readonly number[];
  readonly finish: Finish;
}

export interface DecodeOptions {
  readonly stopIds: ReadonlySet<number>;
  /** New tokens of each sequence at most. */
  readonly maxNewTokens: readonly number[];
  /**
   * New tokens of each sequence that the KV cache has room for from the start. Past them it may
   * grow, which makes bind groups. Default: `shortAnswer`.
   */
  readonly usualTokens?: readonly number[];
  /** Whether repeating cycles end a sequence. Default: true. */
  readonly guardLoops?: boolean;
  /** Called with each token that joins a sequence's result, as it comes. */
  readonly onToken?: (sequence: number, id: number) => void;
  /** Called once the prompt has been read and the first token is there. */
  readonly onPrefill?: () => void;
  /**
   * Ends the decoding before its next step, with the signal's reason; steps that were submitted run
   * to their end.
   */
  readonly signal?: AbortSignal | undefined;
}

/** Packed prompts, as the LLM gets them. */
export interface EmbeddedPrompts {
  /** Tokens of each. */
  readonly lengths: readonly number[];
  /** In the first step: [Σ lengths, D] f32. */
  readonly embed: () => Tensor;
}

/** Chooses the next token of each sequence. */
export interface Picker {
  /**
   * Whether `record` itself leaves the tokens in `ids`: then the next step runs while the host
   * looks at them.
   */
  readonly onDevice: boolean;
  /**
   * At the end of a step.
   * @param logits  [sequences, V] f32
   * @param ids     [sequences] u32, kept: where the next step finds the tokens
   * @returns       the argument of `pick`
   */
  record(logits: Tensor, ids: Tensor): Tensor;
  /**
   * After the step: the token of each sequence, which unless `onDevice` is in `ids` from here on;
   * `notANumber` where its scores are none.
   * @param running  sequences that have not ended; the others' tokens are not used
   */
  pick(seen: TensorData, ids: Tensor, running: readonly boolean[]): ArrayLike<number>;
}

/** An answer as its tokens come. */
export interface Sequence {
  readonly tokenIds: number[];
  finish?: Finish;
}

/** Tokens of an answer that the KV cache has room for where nothing is known of it. */
export const shortAnswer = 256;

/**
 * Takes in one more token; sets `finish` when the sequence ends with it.
 * @returns  whether the token joined the answer
 * @throws DecodeError  `notANumber`
 */
export function accept(
  sequence: Sequence,
  id: number,
  limit: number,
  options: Pick<DecodeOptions, "stopIds" | "guardLoops">,
): boolean {
  if (id === notANumber) {
    throw new DecodeError(
      `decode: token ${sequence.tokenIds.length}: expected finite scores, got NaN; the weights or the input are damaged`,
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
 * Decodes a batch of prompts: one prefill, then one submit a token for all sequences. Where the
 * tokens stay on the device, each step is submitted before the previous token is read; so one step
 * too many runs after a stop token or a loop. A sequence that has ended gives its pages of the KV
 * cache back and keeps its row until the last one ends, so that the steps stay the same.
 */
export async function decode(
  gpu: Gpu,
  llm: Qwen3,
  { lengths, embed }: EmbeddedPrompts,
  picker: Picker,
  options: DecodeOptions,
): Promise<Decoded[]> {
  const { maxNewTokens, usualTokens } = options;
  const sequences = lengths.map((): Sequence => ({ tokenIds: [] }));
  const room = lengths.map(
    (length, i) => length + Math.min(maxNewTokens[i], usualTokens?.[i] ?? shortAnswer),
  );
  const longest = Math.max(...lengths.map((length, i) => length + maxNewTokens[i]));
  const { cache, ids } = openCache(gpu, llm, room, longest);
  let submitted = 0;
  /** Submits a step; it makes one token of each sequence. */
  const submit = (body: () => Tensor, program?: Program): Promise<TensorData[]> => {
    submitted++;
    const step = gpu.step(() => [picker.record(lmHead(gpu, llm, body()), ids)], program);
    step.catch(() => undefined); // met at its turn, unless what comes before fails
    return step;
  };
  /** Submits the next step; none where no sequence wants its token. */
  const submitNext = (): Promise<TensorData[]> | undefined => {
    const wanting = sequences.map(({ finish }, i) =>
      finish || submitted >= maxNewTokens[i] ? undefined : i,
    );
    if (wanting.every((i) => i === undefined)) return undefined;
    const { rows, program } = cache.advance(wanting);
    return submit(() => qwen3(gpu, llm, embedding(gpu, ids, llm.embedTokens), rows, cache), program);
  };
  const take = (seen: TensorData): void => {
    const running = sequences.map(({ finish }) => !finish);
    const picked = picker.pick(seen, ids, running);
    for (const [i, sequence] of sequences.entries()) {
      if (sequence.finish) continue;
      const joined = accept(sequence, picked[i], maxNewTokens[i], options);
      if (sequence.finish) cache.remove(i);
      if (joined) options.onToken?.(i, picked[i]);
    }
  };
  let step: Promise<TensorData[]> | undefined;
  let next: Promise<TensorData[]> | undefined;
  try {
    step = submit(() => qwen3(gpu, llm, embed(), cache.append(lengths), cache, { only: lastRows(lengths) }));
    for (let first = true; step; first = false) {
      options.signal?.throwIfAborted();
      if (picker.onDevice) next = submitNext();
      const [seen] = await step;
      if (first) options.onPrefill?.();
      take(seen);
      if (!picker.onDevice) next = submitNext();
      step = next;
    }
  } finally {
    await Promise.allSettled([step, next]);
    cache.free();
    gpu.free(ids);
  }
  return sequences.map(({ tokenIds, finish }) => ({ tokenIds, finish: finish! }));
}

/** A cache, and [sequences] u32 for the newest token of each. */
function openCache(
  gpu: Gpu,
  { config }: Qwen3,
  room: readonly number[],
  longest: number,
): { readonly cache: KvCache; readonly ids: Tensor } {
  const ids = gpu.keep([room.length], "u32");
  try {
    return { cache: new KvCache(gpu, config, room, longest), ids };
  } catch (error) {
    gpu.free(ids);
    throw error;
  }
}

function lastRows(lengths: readonly number[]): number[] {
  let row = -1;
  return lengths.map((length) => (row += length));
}
