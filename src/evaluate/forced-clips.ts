import type { PreparedClip, Transcriber } from "../decode/transcriber.js";
import type { Tensor } from "../gpu/tensor.js";
import { adapt, encode, promptEmbeddings } from "../model/fun-asr-nano.js";
import type { PromptOptions } from "../tokenizer/prompt.js";
import { type ForcedOptions, force } from "./forced.js";
import type { ForcedRecord } from "./record.js";

/**
 * Scores each clip's given answer, and the token that ends it, under forced decoding: one packed
 * run.
 * @throws as Transcriber.transcribe
 */
export async function forceClips(
  transcriber: Transcriber,
  clips: readonly PreparedClip[],
  answers: readonly string[],
  { signal, ...options }: PromptOptions & Pick<ForcedOptions, "signal">,
): Promise<ForcedRecord[]> {
  const { gpu, model, tokenizer, stopIds } = transcriber;
  const [end] = stopIds;
  const prompts = transcriber.promptTokens(clips, options);
  const sequences = prompts.map(({ ids }, i) => ({
    ids: [...ids, ...tokenizer.encode(answers[i]), end],
    first: ids.length,
  }));
  signal?.throwIfAborted();
  const audio = await embedClips(transcriber, clips);
  try {
    const whole = sequences.map(({ ids }, i) => ({ ...prompts[i], ids }));
    const embed = (): Tensor => promptEmbeddings(gpu, model, whole, audio);
    const scored = await force(gpu, model.llm, sequences, { embed, signal });
    return scored.map((tokens) => ({
      ids: tokens.map(({ id }) => id),
      tops: tokens.map(({ top }) => top),
      logProbability: tokens.reduce((sum, token) => sum + token.logProbability, 0),
    }));
  } finally {
    gpu.release(audio);
  }
}

/** The clips' audio embeddings [ΣL, D], held. */
async function embedClips({ gpu, model }: Transcriber, clips: readonly PreparedClip[]): Promise<Tensor> {
  const frames = clips.map((clip) => clip.frames);
  const features = new Float32Array(clips.reduce((sum, clip) => sum + clip.features.length, 0));
  let at = 0;
  for (const clip of clips) {
    features.set(clip.features, at);
    at += clip.features.length;
  }
  let audio: Tensor | undefined;
  try {
    await gpu.step(() => {
      audio = gpu.hold(adapt(gpu, model, encode(gpu, model, { features, frames }), frames));
      return [];
    });
    return audio!;
  } catch (error) {
    if (audio) gpu.release(audio);
    throw error;
  }
}
