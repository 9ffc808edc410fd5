import { type Language, languageCode, languageName } from "../../tokenizer/languages.js";
import { show } from "../../json.js";
import type { Wish } from "../engine/engine.js";
import { ApiError, wrongField } from "./api-error.js";
import type { Form } from "./form.js";

/** The forms of a transcript. */
export const responseFormats = ["json", "text", "srt", "verbose_json", "vtt"] as const;
export type ResponseFormat = (typeof responseFormats)[number];

/** A request to transcribe or translate, checked. */
export interface SpeechRequest {
  readonly model: string;
  readonly wish: Wish;
  readonly format: ResponseFormat;
  readonly granularities: ReadonlySet<"word" | "segment">;
  readonly stream: boolean;
  readonly logprobs: boolean;
  /** Segments of speech whatever the length. */
  readonly cut: { readonly maxEndSilenceMs?: number } | undefined;
}

type Fields = Form["fields"];

/** Fields that have a meaning here, without the brackets of lists and objects. */
export const speechFields: ReadonlySet<string> = new Set([
  "model",
  "language",
  "languages",
  "prompt",
  "keywords",
  "response_format",
  "temperature",
  "timestamp_granularities",
  "stream",
  "include",
  "chunking_strategy",
]);

/** Values of a list: `name[]`, `name`, `name[0]`, each with one value or a list in JSON. */
function list(fields: Fields, name: string): string[] {
  const numbered = [...fields.keys()].filter((key) => key.startsWith(`${name}[`) && /\[\d+\]$/.test(key));
  return [`${name}[]`, name, ...numbered]
    .flatMap((key) => fields.get(key) ?? [])
    .flatMap(valuesOf)
    .map((value) => value.trim())
    .filter((value) => value !== "");
}

function valuesOf(text: string): readonly string[] {
  if (!text.trimStart().startsWith("[")) return [text];
  try {
    const values = JSON.parse(text) as unknown;
    return Array.isArray(values) && values.every((value) => typeof value === "string") ? values : [text];
  } catch {
    return [text];
  }
}

/** The one value of a field; undefined where it is absent or empty. */
function one(fields: Fields, name: string): string | undefined {
  const values = (fields.get(name) ?? []).filter((value) => value.trim() !== "");
  if (values.length > 1) throw wrongField(name, "one value", `${values.length}`);
  return values[0];
}

function oneOf<T extends string>(param: string, value: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw wrongField(param, `one of ${choices.join(", ")}`, show(value));
  return found;
}

const decimal = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** A number of a field, or its decimal text, within its bounds. */
export function numberIn(param: string, value: unknown, least: number, most: number): number {
  const number = typeof value === "string" && decimal.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !(number >= least && number <= most))
    throw wrongField(param, `a number from ${least} to ${most}`, show(value));
  return number;
}

/** A language by its code, with or without a region, or by its name. */
export function parseLanguage(param: string, value: string): Language {
  const text = value.trim();
  const code = languageCode(text) ?? languageCode(text.split(/[-_]/)[0]);
  if (code !== undefined) return code;
  if (languageName(text) !== undefined) return text;
  throw wrongField(param, "a language by its code, such as en or zh", show(value));
}

/** The spoken language; several candidates leave the choice to the model. */
function parseLanguages(fields: Fields): Language | undefined {
  const language = one(fields, "language");
  const named = list(fields, "languages").map((value) => parseLanguage("languages[]", value));
  if (language !== undefined) return parseLanguage("language", language);
  return new Set(named).size === 1 ? named[0] : undefined;
}

const mostKeywords = 1000;

function parseBoolean(param: string, value: string | undefined): boolean {
  if (value === undefined) return false;
  return ["true", "1"].includes(oneOf(param, value.trim().toLowerCase(), ["true", "false", "1", "0"]));
}

/** `auto`, or the settings of a server's voice activity detection as JSON or in fields of their own. */
function parseChunking(fields: Fields): SpeechRequest["cut"] {
  const param = "chunking_strategy";
  const text = one(fields, param);
  const parts = [...fields.keys()].filter((key) => key.startsWith(`${param}[`));
  if (parts.length === 0) {
    if (text === undefined || text === "null") return undefined;
    if (text === "auto") return {};
  }
  const given: Record<string, unknown> = {};
  for (const key of parts) given[key.slice(param.length + 1, -1)] = one(fields, key);
  const settings = parts.length > 0 ? given : jsonObject(param, text!);
  return parseServerVad(param, settings);
}

function jsonObject(param: string, text: string): Readonly<Record<string, unknown>> {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // the same refusal as for other values
  }
  throw wrongField(param, "auto, or an object of type server_vad", show(text));
}

/**
 * Settings of a voice activity detection; what FSMN-VAD has no use for is checked all the same. A
 * null counts as absent.
 */
export function parseServerVad(
  param: string,
  settings: Readonly<Record<string, unknown>>,
): { readonly maxEndSilenceMs?: number } {
  const { type, prefix_padding_ms: padding, silence_duration_ms: silence, threshold } = settings;
  if (type !== "server_vad") throw wrongField(`${param}.type`, "server_vad", show(type));
  if (isGiven(padding)) numberIn(`${param}.prefix_padding_ms`, padding, 0, 60_000);
  if (isGiven(threshold)) numberIn(`${param}.threshold`, threshold, 0, 1);
  if (!isGiven(silence)) return {};
  return { maxEndSilenceMs: numberIn(`${param}.silence_duration_ms`, silence, 0, 60_000) };
}

/** Whether a value is there: clients that write all their fields send null for the others. */
export function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** The name of the model that is asked for. @throws ApiError 400 none; 404 another one */
export function checkModel(name: string | undefined, served: string, param = "model"): string {
  if (name === undefined) throw wrongField(param, `a model's name, such as ${served}`, "none");
  if (name === served || aliases.has(name)) return name;
  const message = `${param}: expected ${served}, got ${show(name)}; GET /v1/models lists what is served`;
  throw new ApiError(404, message, { param, code: "model_not_found" });
}

/** Names that clients of OpenAI's API send by default: they get the model that is served. */
const aliases: ReadonlySet<string> = new Set(["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"]);

/**
 * The fields of `POST /v1/audio/transcriptions` and of `translations`. Unknown ones are ignored.
 * @throws ApiError  a field is wrong
 */
export function parseSpeechRequest(
  fields: Fields,
  task: "transcribe" | "translate",
  served: string,
): SpeechRequest {
  const model = checkModel(one(fields, "model"), served);
  const format = oneOf("response_format", one(fields, "response_format") ?? "json", responseFormats);
  const temperature = one(fields, "temperature");
  if (temperature !== undefined) numberIn("temperature", temperature, 0, 1);
  const context = one(fields, "prompt");
  if (task === "translate")
    return {
      model,
      format,
      wish: {},
      granularities: new Set(),
      stream: false,
      logprobs: false,
      cut: undefined,
    };
  const hotwords = list(fields, "keywords");
  if (hotwords.length > mostKeywords)
    throw wrongField("keywords[]", `at most ${mostKeywords} words`, `${hotwords.length}`);
  const language = parseLanguages(fields);
  const stream = parseBoolean("stream", one(fields, "stream"));
  if (stream && format !== "json" && format !== "text")
    throw wrongField("response_format", "json or text with stream", format);
  return {
    model,
    format,
    wish: {
      ...(language !== undefined && { language }),
      ...(hotwords.length > 0 && { hotwords }),
      ...(context !== undefined && { context }),
    },
    granularities: parseGranularities(fields, format),
    stream,
    logprobs: parseInclude(fields, format),
    cut: parseChunking(fields),
  };
}

function parseGranularities(fields: Fields, format: ResponseFormat): ReadonlySet<"word" | "segment"> {
  const param = "timestamp_granularities[]";
  const values = list(fields, "timestamp_granularities").map((value) =>
    oneOf(param, value, ["word", "segment"] as const),
  );
  if (values.length > 0 && (format === "json" || format === "text"))
    throw wrongField(param, "response_format verbose_json beside it", format);
  return new Set(values);
}

function parseInclude(fields: Fields, format: ResponseFormat): boolean {
  const values = list(fields, "include").map((value) => oneOf("include[]", value, ["logprobs"]));
  if (values.length > 0 && format !== "json")
    throw wrongField("include[]", "response_format json beside logprobs", format);
  return values.length > 0;
}
