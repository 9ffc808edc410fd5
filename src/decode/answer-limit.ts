const answerSpare = 32; // tokens that a clip of any length may have

/**
 * New tokens that a clip may have where no limit is given: 32 and one for each 60 ms of audio, a
 * frame.
 */
export function defaultMaxNewTokens({ frames }: { readonly frames: number }): number {
  return answerSpare + frames;
}

/** New tokens that the words of a clip usually stay below: 32 and one for each 240 ms of audio. */
export function usualTokens({ frames }: { readonly frames: number }): number {
  return answerSpare + Math.ceil(frames / 4);
}

/** New tokens of a clip at most, within what the context has left behind the prompt. */
export function answerLimit(
  clip: { readonly frames: number; readonly promptTokens: number },
  maxPositions: number,
  asked?: number,
): number {
  return Math.min(asked ?? defaultMaxNewTokens(clip), maxPositions - clip.promptTokens);
}
