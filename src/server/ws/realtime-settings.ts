import { type JsonObject, isObject, show } from "../../json.js";
import type { Wish } from "../engine/engine.js";
import { wrongField } from "../http/api-error.js";
import { checkModel, parseLanguage, parseServerVad } from "../http/fields.js";

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
 * before.
 * @throws ApiError  a field is wrong
 */
export function parseRealtime(session: unknown, before: RealtimeSettings, served: string): RealtimeSettings {
  if (!isObject(session)) throw wrongField("session", "an object", show(session));
  const { type = "transcription", audio, input_audio_format: format } = session;
  if (type !== "transcription") throw wrongField("session.type", "transcription", show(type));
  if (audio !== undefined && !isObject(audio)) throw wrongField("session.audio", "an object", show(audio));
  const input = audio?.input ?? {};
  if (!isObject(input)) throw wrongField("session.audio.input", "an object", show(input));
  const transcription = input.transcription ?? session.input_audio_transcription;
  const turn = "turn_detection" in input ? input.turn_detection : session.turn_detection;
  return {
    rate: rateOf(input.format, format, before.rate),
    ...(transcription === undefined || transcription === null
      ? { transcription: before.transcription, wish: before.wish }
      : transcriptionOf(transcription, served)),
    ...detectionOf(turn, before),
  };
}

function rateOf(format: unknown, beta: unknown, before: number): number {
  if (beta !== undefined && beta !== "pcm16")
    throw wrongField("session.input_audio_format", "pcm16", show(beta));
  if (format === undefined || format === null) return before;
  const param = "session.audio.input.format";
  if (!isObject(format) || (format.type ?? "audio/pcm") !== "audio/pcm")
    throw wrongField(param, "audio/pcm", show(isObject(format) ? format.type : format));
  const { rate = 24_000 } = format;
  if (!rates.includes(rate)) throw wrongField(`${param}.rate`, rates.join(" or "), show(rate));
  return rate as number;
}

function transcriptionOf(value: unknown, served: string): Pick<RealtimeSettings, "transcription" | "wish"> {
  const param = "session.audio.input.transcription";
  if (!isObject(value)) throw wrongField(param, "an object", show(value));
  const { model = served, language, prompt, keywords } = value;
  for (const [name, text] of Object.entries({ model, language, prompt }))
    if (text !== undefined && text !== null && typeof text !== "string")
      throw wrongField(`${param}.${name}`, "a text", show(text));
  if (
    keywords !== undefined &&
    !(Array.isArray(keywords) && keywords.every((word) => typeof word === "string"))
  )
    throw wrongField(`${param}.keywords`, "a list of words", show(keywords));
  const hotwords = (keywords ?? []).map((word) => word.trim()).filter((word) => word !== "");
  const spoken = typeof language === "string" && language.trim() !== "" ? language : undefined;
  const context = typeof prompt === "string" && prompt.trim() !== "" ? prompt : undefined;
  return {
    transcription: {
      model: checkModel(model as string, served),
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
