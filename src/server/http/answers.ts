import { deflateSync } from "node:zlib";
import type { Word } from "../../decode/alignment/words.js";
import type { TranscriptSegment } from "../../decode/segments/recording.js";
import { subtitles } from "../../decode/subtitles/formats.js";
import { englishName, languageCode } from "../../tokenizer/languages.js";
import type { JobResult } from "../engine/engine.js";
import type { SpeechRequest } from "./fields.js";
import { spokenLanguage } from "./spoken-language.js";

/** The body of an answer with its type. */
export interface Answer {
  readonly type: string;
  readonly body: string;
}

const json = "application/json; charset=utf-8";

/** A result in the form that was asked for. @source OpenAI's API: audio transcriptions */
export function answerOf(
  result: JobResult,
  request: SpeechRequest,
  task: "transcribe" | "translate",
): Answer {
  const { format } = request;
  switch (format) {
    case "text":
      return { type: "text/plain; charset=utf-8", body: result.text };
    case "srt":
      return { type: "text/plain; charset=utf-8", body: subtitles(result.segments, "srt") };
    case "vtt": {
      const wordTimes = request.granularities.has("word");
      return { type: "text/vtt; charset=utf-8", body: subtitles(result.segments, "vtt", { wordTimes }) };
    }
    case "json":
      return { type: json, body: JSON.stringify(plainObject(result, request)) };
    case "verbose_json":
      return { type: json, body: JSON.stringify(verboseObject(result, request, task)) };
  }
}

function plainObject(result: JobResult, { logprobs }: SpeechRequest): object {
  const { text, warnings } = result;
  return {
    text,
    ...(logprobs && { logprobs: logprobsOf(result) }),
    ...(warnings && { warnings }),
    usage: tokenUsage(result),
  };
}

/** Tokens that were read and written. */
export function tokenUsage({ tokens }: JobResult): object {
  const { audio, text, output } = tokens;
  return {
    type: "tokens",
    input_tokens: audio + text,
    input_token_details: { audio_tokens: audio, text_tokens: text },
    output_tokens: output,
    total_tokens: audio + text + output,
  };
}

/** A word of the transcript with its confidence, which the CTC head gives. */
export function logprobsOf({ segments }: JobResult): object[] {
  return wordsOf(segments).map(({ text, confidence }) => ({
    token: text,
    logprob: logOf(confidence),
    bytes: [...new TextEncoder().encode(text)],
  }));
}

function wordsOf(segments: readonly TranscriptSegment[]): Word[] {
  return segments.flatMap(({ words = [] }) => words);
}

function logOf(probability: number): number {
  return Math.log(Math.max(probability, 1e-10));
}

function verboseObject(
  { text, segments, audioSeconds, warnings }: JobResult,
  { wish, granularities }: SpeechRequest,
  task: "transcribe" | "translate",
): object {
  const duration = thousandths(audioSeconds);
  const withSegments = granularities.size === 0 || granularities.has("segment");
  return {
    task,
    language: languageOf(wish.language, text, task),
    duration,
    text,
    ...(withSegments && { segments: segments.map(segmentObject) }),
    ...(granularities.has("word") && { words: wordsOf(segments).map(wordObject) }),
    ...(warnings && { warnings }),
    usage: { type: "duration", seconds: duration },
  };
}

/** The English name in small letters, as OpenAI's API has it. */
function languageOf(asked: string | undefined, text: string, task: "transcribe" | "translate"): string {
  if (task === "translate") return "english";
  const code = (asked === undefined ? undefined : languageCode(asked)) ?? spokenLanguage(text);
  return code === undefined ? (asked ?? "unknown") : englishName(code).toLowerCase();
}

function segmentObject(segment: TranscriptSegment, id: number): object {
  const { start, end, text, tokenIds, words = [] } = segment;
  const logs = words.map(({ confidence }) => logOf(confidence));
  return {
    id,
    seek: Math.round(start * 100), // frames of 10 ms
    start: thousandths(start),
    end: thousandths(end),
    text,
    tokens: tokenIds,
    temperature: 0,
    avg_logprob: logs.length === 0 ? 0 : logs.reduce((sum, log) => sum + log, 0) / logs.length,
    compression_ratio: compressionRatio(text),
    no_speech_prob: 0,
  };
}

function wordObject({ text, start, end }: Word): object {
  return { word: text.trim(), start: thousandths(start), end: thousandths(end) };
}

/** @source openai-whisper utils.compression_ratio */
function compressionRatio(text: string): number {
  const bytes = Buffer.from(text);
  return bytes.length / deflateSync(bytes).length;
}

function thousandths(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
