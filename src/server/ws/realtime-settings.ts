import { type JsonObject, isObject, show } from "../../json.js";
import type { Wish } from "../engine/engine.js";
import { wrongField } from "../http/api-error.js";
import { checkModel, isGiven, parseLanguage, parseServerVad } from "../http/fields.js";

/** What a client of OpenAI's realtime transcription asked for. */
export interface RealtimeSettings {
  /** Hz of the PCM. */
  readonly rate: number;
  /** As it was asked for, for the answers. */
  readonly transcription: { readonly model: string; readonly language?: string; readonly prompt?: string };
  readonly wish: Wish;
  /** Undefined: commits alone end a segment. */
  readonly detection: { readonly maxEndSilenceMs?: number } | undefined;
  readonly turnDetection: JsonObject | null;
}

export function realtimeDefaults(model: string): RealtimeSettings {
  const turnDetection = {
    type: "server_vad",
    threshold: 0.5,
    prefix_padding_ms: 300,
    silence_duration_ms: 800,
  };
  return { rate: 24_000, transcription: { model }, wish: {}, detection: {}, turnDetection };
}

const rates: readonly unknown[] = [24_000, 16_000];

/**
 * The settings of `session.update`, or of the beta's `transcription_session.update`, over those
 * before. A null counts as absent, but that of `turn_detection`.
 * @throws ApiError  a field is wrong
 */
export function parseRealtime(session: unknown, before: RealtimeSettings, served: string): RealtimeSettings {
  if (!isObject(session)) throw wrongField("session", "an object", show(session));
  const type = session.type ?? "transcription";
  if (type !== "transcription") throw wrongField("session.type", "transcription", show(type));
  const audio = objectIn("session.audio", session.audio);
  const input = objectIn("session.audio.input", audio.input);
  checkInclude(session.include);
  const transcription = input.transcription ?? session.input_audio_transcription;
  const turn = "turn_detection" in input ? input.turn_detection : session.turn_detection;
  return {
    rate: rateOf(input.format, session.input_audio_format, before.rate),
    ...(isGiven(transcription)
      ? transcriptionOf(transcription, served)
      : { transcription: before.transcription, wish: before.wish }),
    ...detectionOf(turn, before),
  };
}

function objectIn(param: string, value: unknown): JsonObject {
  const object = value ?? {};
  if (!isObject(object)) throw wrongField(param, "an object", show(value));
  return object;
}

/** What else the API lets a client ask for; it has no use here. */
function checkInclude(value: unknown): void {
  const known = "item.input_audio_transcription.logprobs";
  if (isGiven(value) && !(Array.isArray(value) && value.every((item) => item === known)))
    throw wrongField("session.include", `a list of ${known}`, show(value));
}

function rateOf(format: unknown, beta: unknown, before: number): number {
  if (isGiven(beta) && beta !== "pcm16") throw wrongField("session.input_audio_format", "pcm16", show(beta));
  if (!isGiven(format)) return before;
  const param = "session.audio.input.format";
  if (!isObject(format) || (format.type ?? "audio/pcm") !== "audio/pcm")
    throw wrongField(param, "audio/pcm", show(isObject(format) ? format.type : format));
  const rate = format.rate ?? 24_000;
  if (!rates.includes(rate)) throw wrongField(`${param}.rate`, rates.join(" or "), show(rate));
  return rate as number;
}

const mostKeywords = 1000;

function transcriptionOf(value: unknown, served: string): Pick<RealtimeSettings, "transcription" | "wish"> {
  const param = "session.audio.input.transcription";
  const { model, language, prompt, keywords } = objectIn(param, value);
  for (const [name, text] of Object.entries({ model, language, prompt }))
    if (isGiven(text) && typeof text !== "string") throw wrongField(`${param}.${name}`, "a text", show(text));
  const words: unknown = keywords ?? [];
  if (
    !Array.isArray(words) ||
    !words.every((word) => typeof word === "string") ||
    words.length > mostKeywords
  )
    throw wrongField(`${param}.keywords`, `a list of words, at most ${mostKeywords}`, show(keywords));
  const hotwords = words.map((word) => word.trim()).filter((word) => word !== "");
  const spoken = typeof language === "string" && language.trim() !== "" ? language : undefined;
  const context = typeof prompt === "string" && prompt.trim() !== "" ? prompt : undefined;
  return {
    transcription: {
      model: checkModel((model ?? served) as string, served, `${param}.model`),
      ...(spoken !== undefined && { language: spoken }),
      ...(context !== undefined && { prompt: context }),
    },
    wish: {
      ...(spoken !== undefined && { language: parseLanguage(`${param}.language`, spoken) }),
      ...(context !== undefined && { context }),
      ...(hotwords.length > 0 && { hotwords }),
    },
  };
}

function detectionOf(
  turn: unknown,
  before: RealtimeSettings,
): Pick<RealtimeSettings, "detection" | "turnDetection"> {
  const { detection, turnDetection } = before;
  if (turn === undefined) return { detection, turnDetection };
  if (turn === null) return { detection: undefined, turnDetection: null };
  const param = "session.audio.input.turn_detection";
  if (!isObject(turn)) throw wrongField(param, "an object or null", show(turn));
  const semantic = turn.type === "semantic_vad"; // there is one voice activity detection here
  return { detection: semantic ? {} : parseServerVad(param, turn), turnDetection: turn };
}
