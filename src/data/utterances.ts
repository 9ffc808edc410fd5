import { dirname, isAbsolute, relative, resolve, sep } from "node:path";
import { type JsonObject, isObject, jsonFault, show } from "../json.js";
import { DataError, dataError } from "./errors.js";
import { readLines } from "./lines.js";
import { MOST_SECONDS, type Timed, joinedText, sameCharacters, timedOf } from "./timed-text.js";

/**
 * One utterance: a clip or a part of one, and the answer to it. `segments` and `ignore` are times in
 * the file.
 */
export interface Utterance extends Timed {
  /** Path of the audio file. */
  readonly audio: string;
  /** Seconds into the file; default 0. */
  readonly start?: number;
  /** Seconds into the file; default its end. */
  readonly end?: number;
  /** Channel of the file, counted from 1; default: the mean of all. */
  readonly channel?: number;
  /** The user's words before the audio; default: the checkpoint's request to transcribe. */
  readonly prompt?: string;
  /** The answer; empty for silence. */
  readonly text: string;
  /** The spoken words, if the answer is not the transcript. */
  readonly transcript?: string;
  /** Line of the JSONL, from 1. */
  readonly line: number;
}

/** A line that is not an utterance. */
export interface BadLine {
  readonly line: number;
  /** `FILE:LINE: FIELD: expected E, got G`. */
  readonly message: string;
  readonly error: DataError;
}

/** How a file of utterances is read. */
export interface ReadOptions {
  /** Called with each bad line, which is skipped. Default: the first one is an error. */
  readonly onBad?: (bad: BadLine) => void;
}

/**
 * The utterances of a JSONL file, one object a line, in one of three forms: FunASR's `{"messages":
 * [{"role": "system"}, {"role": "user", "content": "PROMPT<|startofspeech|>!PATH<|endofspeech|>"},
 * {"role": "assistant", "content": TEXT}]}`; `{"audio": PATH, "text": TEXT, "prompt"?, "start"?,
 * "end"?, "channel"?, "transcript"?, "segments"?, "ignore"?}`; or NeMo's `{"audio_filepath": PATH, "text": TEXT, "offset"?,
 * "duration"?}`. `segments` is a list of `{"start", "end", "text"}` and stands for the text too,
 * `ignore` one of `{"start", "end"}`; see evaluate. null means absent. Paths are relative to the file. Empty lines are skipped, and
 * other fields ignored.
 * @throws DataError  a bad line without onBad, or a Git LFS pointer
 * @source FunASR docs/finetune.md of Fun-ASR; NeMo
 *   collections/common/parts/preprocessing/manifest.py
 */
export async function* readUtterances(
  file: string,
  { onBad }: ReadOptions = {},
): AsyncGenerator<Utterance, void, undefined> {
  for await (const { text, problem, line } of readLines(file)) {
    if (text?.trim() === "") continue;
    if (line === 1 && text?.startsWith(LFS_POINTER)) throw lfsPointer(file);
    try {
      if (text === undefined) throw refusal(file, line, "line", problem!.expected, problem!.got);
      yield parseUtterance(text, file, line);
    } catch (error) {
      if (!(error instanceof DataError) || !onBad) throw error;
      onBad({ line, message: error.message, error });
    }
  }
}

/** The start of a Git LFS pointer. @source git-lfs `docs/spec.md` */
const LFS_POINTER = "version https://git-lfs.github.com/spec/";

function lfsPointer(file: string): DataError {
  const advice = "run `git lfs pull` in that directory";
  return dataError(file, "content", "the file itself", "a Git LFS pointer", advice);
}

/** One line of a JSONL file. @throws DataError */
export function parseUtterance(text: string, file: string, line: number): Utterance {
  return utteranceFrom(parseObject(text, file, line), file, line);
}

/** The object of a line of a JSONL file. @throws DataError */
export function parseObject(text: string, file: string, line: number): JsonObject {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw refusal(file, line, "line", "JSON", jsonFault(text, error));
  }
  if (!isObject(json)) throw refusal(file, line, "line", "an object", show(json));
  return json;
}

/** The utterance of a line's object. @throws DataError */
export function utteranceFrom(json: JsonObject, file: string, line: number): Utterance {
  const refuse: Refuse = (field, expected, got) => {
    throw refusal(file, line, field, expected, got);
  };
  const parts = (json.messages ?? undefined) !== undefined ? conversation(json, refuse) : plain(json, refuse);
  return { ...parts, audio: resolve(dirname(file), parts.audio), line };
}

/**
 * An utterance as a line of JSONL.
 * @param directory  of the JSONL file; the path is relative to it
 */
export function utteranceLine(utterance: Omit<Utterance, "line">, directory: string): string {
  const { audio, start, end, channel, prompt, text, transcript, segments, ignore } = utterance;
  const path = relative(resolve(directory), resolve(audio));
  return JSON.stringify({
    audio: isAbsolute(path) ? path : path.split(sep).join("/"),
    start,
    end,
    channel,
    prompt,
    text,
    transcript,
    segments,
    ignore,
  });
}

type Parts = Omit<Utterance, "line">;
type Refuse = (field: string, expected: string, got: string) => never;

const [OPEN, CLOSE] = ["<|startofspeech|>", "<|endofspeech|>"];
const SYSTEM = "You are a helpful assistant.";

function plain(json: JsonObject, refuse: Refuse): Parts {
  const audio = json.audio ?? json.audio_filepath ?? json.audio_filename;
  if (audio === undefined || audio === null)
    return refuse("audio", "a path", `nothing (the line has ${fieldsOf(json)})`);
  if (typeof audio !== "string" || audio === "") return refuse("audio", "a path", show(audio));
  if (audio.includes("\0")) return refuse("audio", "a path without null characters", show(audio));
  const nemo = (json.audio ?? undefined) === undefined;
  const span = nemo ? spanOfNemo(json, refuse) : spanOf(json, refuse);
  const timed = timedOf(json, { start: span.start ?? 0, end: span.end ?? Infinity }, refuse);
  const text = answerOf(json, timed, refuse);
  const [prompt, transcript] = [textOf(json, "prompt", refuse), textOf(json, "transcript", refuse)];
  const parts = { audio, ...span, channel: channelOf(json, refuse), prompt, text, transcript, ...timed };
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as Parts;
}

/** The text, or where there is none that of the segments. */
function answerOf({ text }: JsonObject, { segments }: Timed, refuse: Refuse): string {
  const joined = segments && joinedText(segments);
  if ((text ?? undefined) === undefined && joined !== undefined) return joined;
  if (typeof text !== "string") return refuse("text", "a text", show(text));
  if (joined === undefined || sameCharacters(text, joined)) return text;
  return refuse("text", `the words of segments, ${show(joined)}`, show(text));
}

const namedFields = 5;

function fieldsOf(json: JsonObject): string {
  const names = Object.keys(json);
  const more = names.length > namedFields ? ` and ${names.length - namedFields} more` : "";
  return names.length === 0 ? "no fields" : names.slice(0, namedFields).map(show).join(", ") + more;
}

/** An optional text; null is absent. */
function textOf(json: JsonObject, field: "prompt" | "transcript", refuse: Refuse): string | undefined {
  const value = json[field] ?? undefined;
  return value === undefined || typeof value === "string" ? value : refuse(field, "a text", show(value));
}

const mostChannels = 999;

function channelOf({ channel }: JsonObject, refuse: Refuse): number | undefined {
  if (channel === undefined || channel === null) return undefined;
  if (typeof channel === "number" && Number.isInteger(channel) && channel >= 1 && channel <= mostChannels)
    return channel;
  return refuse("channel", "a whole number from 1 (1 is the first, or left)", show(channel));
}

interface Span {
  readonly start: number | undefined;
  readonly end: number | undefined;
}

function spanOf(json: JsonObject, refuse: Refuse): Span {
  const [start, end] = [seconds(json, "start", refuse), seconds(json, "end", refuse)];
  if (end !== undefined && end <= (start ?? 0))
    return refuse("end", `more than start ${start ?? 0}`, show(end));
  return { start, end };
}

/** `offset` and `duration`. A duration of 0 or less means the rest of the file. */
function spanOfNemo(json: JsonObject, refuse: Refuse): Span {
  const start = seconds(json, "offset", refuse);
  const { duration } = json;
  if (duration === undefined || duration === null) return { start, end: undefined };
  if (typeof duration !== "number" || !Number.isFinite(duration))
    return refuse("duration", "seconds", show(duration));
  const end = Math.round(((start ?? 0) + duration) * 1e6) / 1e6; // 0.1 + 0.2 is 0.3
  if (duration <= 0) return { start, end: undefined };
  if (end <= MOST_SECONDS && end > (start ?? 0)) return { start, end };
  return refuse("duration", "seconds, from a millionth to what a file can last", show(duration));
}

function seconds(json: JsonObject, field: "start" | "end" | "offset", refuse: Refuse): number | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !(value >= 0)) return refuse(field, "seconds from 0", show(value));
  return value <= MOST_SECONDS ? value : refuse(field, `seconds up to ${MOST_SECONDS}`, show(value));
}

/** A user's turn that ends with the audio, and the assistant's turn. */
function conversation({ messages }: JsonObject, refuse: Refuse): Parts {
  if (!Array.isArray(messages)) return refuse("messages", "a list", show(messages));
  const turns: unknown[] = messages;
  const texts = turns.map((turn, i): [string, string] => {
    const { role, content } = isObject(turn) ? turn : {};
    if (typeof role === "string" && typeof content === "string") return [role, content];
    return refuse(`messages.${i}`, "role and content as texts", show(turn));
  });
  const [system, ...others] = texts[0]?.[0] === "system" ? texts : [["system", SYSTEM], ...texts];
  if (system[1] !== SYSTEM) return refuse("messages.0.content", show(SYSTEM), show(system[1]));
  const roles = others.map(([role]) => role).join(", ");
  if (roles !== "user, assistant")
    return refuse("messages", "one user and one assistant turn", roles || "none");
  const [[, request], [, text]] = others;
  const parts = request.split(OPEN);
  const [path, after] = parts[1]?.split(CLOSE) ?? [];
  if (parts.length !== 2 || after === undefined || !path.startsWith("!"))
    return refuse("user", `one ${OPEN}!PATH${CLOSE}`, show(request));
  if (path.includes("\0")) return refuse("user", "a path without null characters", show(path));
  if (path.length < 2) return refuse("user", `a path between ${OPEN}! and ${CLOSE}`, "none");
  if (after.trim() !== "") return refuse("user", "nothing after the audio", show(after));
  return { audio: path.slice(1), ...(parts[0] === "" ? {} : { prompt: parts[0] }), text };
}

function refusal(file: string, line: number, field: string, expected: string, got: string): DataError {
  const advice = "mend the line, or leave it out (data and train: --skip-bad)";
  return dataError(`${file}:${line}`, field, expected, got, advice);
}
