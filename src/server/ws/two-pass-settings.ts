import { type JsonObject, isObject, show } from "../../json.js";
import type { Wish } from "../engine/engine.js";
import { type ApiError, wrongField } from "../http/api-error.js";
import { isGiven, parseLanguage } from "../http/fields.js";

const modes = ["offline", "online", "2pass"] as const;

/** What a client of FunASR's protocol asked for. */
export interface TwoPassSettings {
  readonly mode: (typeof modes)[number];
  readonly wavName: string;
  /** "pcm", or the kind of the file whose bytes come. */
  readonly format: string;
  /** Hz of PCM. */
  readonly rate: number;
  readonly wish: Wish;
}

export const twoPassDefaults: TwoPassSettings = {
  mode: "2pass",
  wavName: "demo",
  format: "pcm",
  rate: 16_000,
  wish: {},
};

const longestName = 200;
const mostHotwords = 1000;

/**
 * The settings of a message over those of the ones before. Unknown fields are ignored; a null counts
 * as absent.
 * @throws ApiError  a field is wrong
 */
export function parseTwoPass(message: JsonObject, before: TwoPassSettings): TwoPassSettings {
  const mode = message.mode ?? before.mode;
  const rate = message.audio_fs ?? before.rate;
  const format = message.wav_format ?? before.format;
  const name = message.wav_name ?? before.wavName;
  if (!modes.includes(mode as (typeof modes)[number])) throw wrong("mode", modes.join(", "), mode);
  if (typeof rate !== "number" || !Number.isInteger(rate) || rate < 4000 || rate > 192_000)
    throw wrong("audio_fs", "a whole number from 4000 to 192000", rate);
  if (typeof format !== "string" || !/^\w{1,20}$/.test(format))
    throw wrong("wav_format", "a format's name", format);
  if (mode !== "offline" && format.toLowerCase() !== "pcm")
    throw wrong("wav_format", 'pcm, or mode "offline"', format);
  if (typeof name !== "string") throw wrong("wav_name", "a text", name);
  flag("is_speaking", message.is_speaking);
  flag("is_end", message.is_end);
  return {
    mode: mode as TwoPassSettings["mode"],
    rate,
    format: format.toLowerCase(),
    wavName: name.slice(0, longestName),
    wish: { ...before.wish, ...wishOf(message) },
  };
}

function wishOf({ hotwords, itn, svs_lang: language }: JsonObject): Wish {
  if (isGiven(language) && typeof language !== "string")
    throw wrong("svs_lang", "a language's code", language);
  const words = isGiven(hotwords) ? hotwordsOf(hotwords) : undefined;
  const numbers = flag("itn", itn);
  const spoken = typeof language === "string" && language !== "auto" && language.trim() !== "";
  return {
    ...(words && { hotwords: words }),
    ...(numbers !== undefined && { itn: numbers }),
    ...(spoken && { language: parseLanguage("svs_lang", language) }),
  };
}

/** @throws ApiError  a value that is there is neither true nor false */
function flag(field: string, value: unknown): boolean | undefined {
  if (!isGiven(value)) return undefined;
  if (typeof value !== "boolean") throw wrong(field, "true or false", value);
  return value;
}

/** `{"word": weight}` or `["word"]`, each as JSON or as text, or words with spaces or commas between. */
function hotwordsOf(value: unknown): string[] {
  let given: unknown = value;
  if (typeof value === "string" && /^\s*[{[]/.test(value))
    try {
      given = JSON.parse(value);
    } catch {
      throw wrong("hotwords", "words and weights in JSON", value);
    }
  const words = isObject(given)
    ? wordsOf(given)
    : typeof given === "string"
      ? given.split(/[\s,，]+/)
      : given;
  if (
    !Array.isArray(words) ||
    words.length > mostHotwords ||
    !words.every((word) => typeof word === "string")
  )
    throw wrong("hotwords", `words and weights, at most ${mostHotwords}`, value);
  return words.map((word) => word.trim()).filter((word) => word !== "");
}

/** Words of a table; their weights have no use here. @throws ApiError  one is no number */
function wordsOf(table: JsonObject): string[] {
  const strange = Object.values(table).find((weight) => !Number.isFinite(Number(weight ?? NaN)));
  if (strange !== undefined) throw wrong("hotwords", "numbers as weights", strange);
  return Object.keys(table);
}

function wrong(field: string, expected: string, got: unknown): ApiError {
  return wrongField(field, expected, show(got));
}
