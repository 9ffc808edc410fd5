import { DataError } from "../../data/errors.js";
import { readLines } from "../../data/lines.js";
import { parseObject, utteranceFrom } from "../../data/utterances.js";
import type { JsonObject } from "../../json.js";
import type { Found, NewItem } from "./found.js";

/**
 * Utterances of a JSONL file in the forms of `readUtterances`; the text may be absent. `duration`
 * without a begin is the file's length. `key`, `id` or `utt` names an utterance.
 */
export async function* fromJsonl(file: string): AsyncGenerator<Found, void, undefined> {
  for await (const { text, problem, line } of readLines(file)) {
    if (text?.trim() === "") continue;
    try {
      if (text === undefined) {
        const [expected, got] = [problem!.expected, problem!.got];
        throw new DataError({ file: `${file}:${line}`, field: "line", expected, got });
      }
      yield { item: itemOf(parseObject(text, file, line), file, line) };
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      yield { skipped: `${file}:${line}`, why: withoutPlace(error, `${file}:${line}: `) };
    }
  }
}

function withoutPlace({ message }: DataError, place: string): string {
  const why = message.startsWith(place) ? message.slice(place.length) : message;
  return why.split("; mend the line")[0];
}

function itemOf(json: JsonObject, file: string, line: number): NewItem {
  const length = lengthOf(json);
  const whole = length === undefined ? json : { ...json, duration: undefined };
  const hasText = whole["messages"] != null || whole["text"] != null || whole["segments"] != null;
  const utterance = utteranceFrom(hasText ? whole : { ...whole, text: "" }, file, line);
  const { audio, start, end, channel, prompt, text, transcript } = utterance;
  const reference = transcript ?? (hasText ? text : undefined);
  const seconds = length ?? (end === undefined ? undefined : end - (start ?? 0));
  const key = keyOf(json);
  return {
    ...(key !== undefined && { key }),
    audio,
    ...(start !== undefined && { start }),
    ...(end !== undefined && { end }),
    ...(channel !== undefined && { channel }),
    ...(prompt !== undefined && { prompt }),
    ...(reference !== undefined && { reference }),
    ...(seconds !== undefined && { seconds }),
  };
}

const longest = 7 * 24 * 3600; // s: a longer duration is a mistake, such as milliseconds

/** The length of the file that a line names; undefined where it names a part, or no likely length. */
function lengthOf({ duration, offset, start, end }: JsonObject): number | undefined {
  if (offset != null || start != null || end != null) return undefined;
  return typeof duration === "number" && duration > 0 && duration <= longest ? duration : undefined;
}

export function keyOf({ key, id, utt }: JsonObject): string | undefined {
  const name = key ?? id ?? utt;
  return typeof name === "string" || typeof name === "number" ? String(name) : undefined;
}
