import { type JsonObject, isObject, show } from "../../json.js";
import type { Wish } from "../engine/engine.js";
import { parseLanguage } from "../http/fields.js";

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
 * The settings of a message over those of the ones before. Unknown fields are ignored.
 * @throws Error  a field is wrong
 */
export function parseTwoPass(message: JsonObject, before: TwoPassSettings): TwoPassSettings {
  const { mode = before.mode, audio_fs: rate = before.rate, wav_format: format = before.format } = message;
  const { wav_name: name = before.wavName } = message;
  if (!modes.includes(mode as (typeof modes)[number])) throw wrong("mode", modes.join(", "), mode);
  if (typeof rate !== "number" || !Number.isInteger(rate) || rate < 4000 || rate > 192_000)
    throw wrong("audio_fs", "a whole number from 4000 to 192000", rate);
  if (typeof format !== "string" || !/^\w{1,20}$/.test(format))
    throw wrong("wav_format", "a format's name", format);
  if (mode !== "offline" && format !== "pcm") throw wrong("wav_format", 'pcm, or mode "offline"', format);
  if (typeof name !== "string") throw wrong("wav_name", "a text", name);
  return {
    mode: mode as TwoPassSettings["mode"],
    rate,
    format,
    wavName: name.slice(0, longestName),
    wish: { ...before.wish, ...wishOf(message) },
  };
}

function wishOf({ hotwords, itn, svs_lang: language }: JsonObject): Wish {
  if (itn !== undefined && typeof itn !== "boolean") throw wrong("itn", "true or false", itn);
  const words = hotwords === undefined ? undefined : hotwordsOf(hotwords);
  const spoken = typeof language === "string" && language !== "auto" && language !== "";
  return {
    ...(words && { hotwords: words }),
    ...(itn !== undefined && { itn }),
    ...(spoken && { language: parseLanguage("svs_lang", language) }),
  };
}

/** `{"word": weight}` as text or object, or words with spaces or commas between. */
function hotwordsOf(value: unknown): string[] {
  let given: unknown = value;
  if (typeof value === "string" && value.trimStart().startsWith("{"))
    try {
      given = JSON.parse(value);
    } catch {
      throw wrong("hotwords", "an object of words and weights", value);
    }
  const words = isObject(given)
    ? Object.keys(given)
    : typeof given === "string"
      ? given.split(/[\s,，]+/)
      : undefined;
  if (!words || words.length > mostHotwords)
    throw wrong("hotwords", `at most ${mostHotwords} words and weights`, value);
  return words.map((word) => word.trim()).filter((word) => word !== "");
}

function wrong(field: string, expected: string, got: unknown): Error {
  return new Error(`${field}: expected ${expected}, got ${show(got)}`);
}
