import { SpokenStream, withoutSilenceMarks } from "./segments/silence-marks.js";
import { embedTokens } from "../model/qwen3.js";
import type { Language } from "../tokenizer/languages.js";
import { TRANSLATION, type TargetLanguage } from "../tokenizer/translation.js";
import { penalisedPicker } from "./greedy.js";
import { decode } from "./loop.js";
import type { PreparedClip, TranscribeOptions, Transcriber, Transcription } from "./transcriber.js";

export type { TargetLanguage } from "../tokenizer/translation.js";

export interface TranslateOptions extends Pick<
  TranscribeOptions,
  "maxNewTokens" | "repetitionPenalty" | "onText" | "onStage" | "signal"
> {
  /** Language of the answer. */
  readonly to: TargetLanguage;
  /**
   * Transcribe first, then have the same LLM translate the text. Default: translate the speech
   * itself.
   */
  readonly cascade?: boolean;
  /** Language that is spoken, for a cascade's transcript. */
  readonly language?: Language;
}

/**
 * A translation; of a cascade with the transcript, and the seconds of translating it counted with
 * `prefill` and `decode`.
 */
export interface Translation extends Transcription {
  readonly transcript?: string;
}

const system = "You are a helpful assistant.";

/** The user's words before the audio. */
export function translationPrompt(to: TargetLanguage): string {
  return TRANSLATION.speech[to][0];
}

/**
 * Translates a batch of clips.
 * @throws as Transcriber.transcribe
 */
export async function translate(
  transcriber: Transcriber,
  clips: readonly PreparedClip[],
  { to, cascade, language, ...options }: TranslateOptions,
): Promise<Translation[]> {
  if (!cascade) return transcriber.transcribe(clips, { ...options, prompt: translationPrompt(to) });
  const heard = await transcriber.transcribe(clips, { ...options, language, onText: undefined });
  return translateTexts(transcriber, heard, to, options);
}

/**
 * A transcript without names of the vocabulary's special tokens, which a prompt may not hold and a
 * confused model can write.
 */
function withoutTokens(text: string, tokens: readonly string[]): string {
  const plain = tokens.reduce((rest, token) => rest.replaceAll(token, ""), text).trim();
  return plain === text ? text : withoutTokens(plain, tokens); // what is left may have joined to a token
}

/**
 * The request to translate a text, behind the system turn that the speech prompts have. Where the
 * chat template has a thought it is switched off.
 */
function textPrompt({ chat }: Transcriber, to: TargetLanguage, text: string): string {
  const thinking = chat.source === "template" ? { thinking: false } : {};
  const options = { prompt: TRANSLATION.text[to][0] + text, ...thinking };
  const plain = chat.render(options);
  return plain.includes(system) ? plain : chat.render({ ...options, system });
}

/** The LLM's translation of each transcript, all in one packed run; no words stay no words. */
async function translateTexts(
  transcriber: Transcriber,
  heard: readonly Transcription[],
  to: TargetLanguage,
  { maxNewTokens, repetitionPenalty, onText, signal }: Omit<TranslateOptions, "to">,
): Promise<Translation[]> {
  const { gpu, model, tokenizer, stopIds } = transcriber;
  const words = heard.map(({ text }) => withoutTokens(text, tokenizer.addedTokens));
  const spoken = words.flatMap((text, clip) => (text === "" ? [] : [clip]));
  if (spoken.length === 0) return heard.map((result) => ({ ...result, transcript: result.text }));
  const prompts = spoken.map((clip) => tokenizer.encode(textPrompt(transcriber, to, words[clip])));
  const lengths = prompts.map((ids) => ids.length);
  const limits = spoken.map((clip, i) =>
    Math.min(maxNewTokens ?? answerLimit(heard[clip]), model.config.llm.maxPositions - lengths[i]),
  );
  const picker = penalisedPicker(gpu, spoken.length, repetitionPenalty);
  const streams = spoken.map(() => new SpokenStream(tokenizer.stream({ skipSpecial: true })));
  const start = performance.now();
  let prefilled = start;
  const embed = (): ReturnType<typeof embedTokens> => embedTokens(gpu, model.llm, prompts.flat());
  const answers = await decode(gpu, model.llm, { lengths, embed }, picker, {
    stopIds,
    maxNewTokens: limits,
    usualTokens: spoken.map((clip) => answerSpare + heard[clip].tokenIds.length),
    signal,
    onPrefill: () => (prefilled = performance.now()),
    onToken: (i, id) => {
      const text = onText && streams[i].push(id);
      if (text) onText?.(spoken[i], text);
    },
  });
  const [prefill, rest] = [(prefilled - start) / 1000, (performance.now() - prefilled) / 1000];
  for (const [i, stream] of streams.entries()) {
    const text = stream.flush();
    if (text) onText?.(spoken[i], text);
  }
  return heard.map((result, clip) => {
    const { seconds, text: transcript } = result;
    const answer = answers[spoken.indexOf(clip)];
    const time = { ...seconds, prefill: seconds.prefill + prefill, decode: seconds.decode + rest };
    if (!answer) return { ...result, transcript, seconds: time };
    const { tokenIds, finish } = answer;
    const text = withoutSilenceMarks(tokenizer.decode(tokenIds, { skipSpecial: true }).trim());
    return { ...result, text, tokenIds, finish, transcript, seconds: time };
  });
}

const answerSpare = 32; // new tokens beside three for each of the transcript

function answerLimit({ tokenIds }: Transcription): number {
  return answerSpare + 3 * tokenIds.length;
}
