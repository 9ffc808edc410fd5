import type { Utterance } from "../data/utterances.js";
import { joinTexts } from "../scripts.js";
import { type JsonObject, isObject } from "../json.js";
import type { HeardSegment, Task, UtteranceRecord } from "./record.js";
import { withoutIgnored } from "./recordings/ignored.js";

/** A text that some run gave, as a corpus's merge writes it. */
export interface Hypothesis {
  readonly text: string;
  readonly segments?: readonly HeardSegment[];
  readonly agreement?: number;
  readonly seconds?: number;
  /** Why there is no text. */
  readonly error?: string;
}

/** Identifies an utterance in several files: its audio, and its part of it. */
export function placeKey({
  audio,
  start,
  end,
  channel,
}: Pick<Utterance, "audio" | "start" | "end" | "channel">): string {
  return JSON.stringify([audio, start ?? null, end ?? null, channel ?? null]);
}

/** The hypothesis of a line's object. */
export function hypothesisOf({ text, segments, agreement, seconds, error }: JsonObject): Hypothesis {
  const why = isObject(error) ? error["message"] : error;
  return {
    text: typeof text === "string" ? text : "",
    ...(Array.isArray(segments) && { segments: segments.filter(isSegment) }),
    ...(typeof agreement === "number" && { agreement }),
    ...(typeof seconds === "number" && { seconds }),
    ...(typeof why === "string" && { error: why }),
  };
}

function isSegment(value: unknown): value is HeardSegment {
  if (!isObject(value)) return false;
  const { start, end, text } = value;
  return typeof start === "number" && typeof end === "number" && typeof text === "string";
}

const NONE = { frontend: 0, encoder: 0, adaptor: 0, prefill: 0, decode: 0 } as const;

/** The record of an utterance whose hypothesis is given; without one, it failed. */
export function givenRecord(
  { line, audio, start, end, channel, text: reference, segments, ignore }: Utterance,
  hypothesis: Hypothesis | undefined,
  task: Task,
): UtteranceRecord {
  const place = {
    line,
    audio,
    ...(start !== undefined && { start }),
    ...(end !== undefined && { end }),
    ...(channel !== undefined && { channel }),
    task,
    reference,
  };
  if (!hypothesis || hypothesis.error !== undefined)
    return { ...place, error: hypothesis?.error ?? `${audio}: no hypothesis` };
  const found = hypothesis.segments ?? [];
  const kept = ignore ? withoutIgnored(found, ignore) : found;
  const timed = (segments !== undefined || ignore !== undefined) && found.length > 0;
  return {
    ...place,
    ...(segments && { referenceSegments: segments }),
    ...(ignore && { ignore }),
    ...(timed && { segments: kept }),
    hypothesis: ignore && timed ? joinTexts(kept.map(({ text }) => text)) : hypothesis.text,
    tokens: 0,
    finish: "stop",
    ...(hypothesis.agreement !== undefined && { agreement: hypothesis.agreement }),
    audioSeconds: hypothesis.seconds ?? 0,
    seconds: NONE,
    batch: 1,
  };
}
