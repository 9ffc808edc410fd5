import { dirname, isAbsolute, relative, resolve, sep } from "node:path";
import { type JsonObject, isObject, reason, show } from "../json.js";
import { DataError } from "./errors.js";
import { readLines } from "./lines.js";

/** One utterance: a clip, or a part of a long one, and what is to be answered to it. */
export interface Utterance {
  /** Path of the audio file. */
  readonly audio: string;
  /** Seconds into the file; default 0. */
  readonly start?: number;
  /** Seconds into the file; default its end. */
  readonly end?: number;
  /** The user's words before the audio; default: a request to transcribe, in the checkpoint's wording. */
  readonly prompt?: string;
  /** The answer; empty where nothing is said. */
  readonly text: string;
  /** What is said, where the answer is something else. */
  readonly transcript?: string;
  /** Line of the JSONL, from 1. */
  readonly line: number;
}

/** A line that is no utterance. */
export interface BadLine {
  readonly line: number;
  /** `FILE:LINE: FIELD: expected E, got G`. */
  readonly message: string;
}

export interface ReadOptions {
  /** Leaves bad lines out and calls this with each. Default: the first one is an error. */
  readonly onBad?: (bad: BadLine) => void;
}

/**
 * The utterances of a JSONL file, one object a line, in either form:
 * FunASR's `{"messages": [{"role": "system"}, {"role": "user", "content": "PROMPT<|startofspeech|>!PATH<|endofspeech|>"}, {"role":
 * "assistant", "content": TEXT}]}`, or `{"audio": PATH, "text": TEXT, "prompt"?, "start"?, "end"?, "transcript"?}`. Paths are relative to the file. Empty
 * lines are passed over; other fields are not looked at.
 * @throws DataError  a bad line, unless onBad is given
 * @source FunASR docs/finetune.md of Fun-ASR
 */
export async function* readUtterances(
  file: string,
  { onBad }: ReadOptions = {},
): AsyncGenerator<Utterance, void, undefined> {
  for await (const { text, problem, line } of readLines(file)) {
    if (text?.trim() === "") continue;
    try {
      if (text === undefined) throw refusal(file, line, "line", problem!.expected, problem!.got);
      yield parseUtterance(text, file, line);
    } catch (error) {
      if (!(error instanceof DataError) || !onBad) throw error;
      onBad({ line, message: error.message });
    }
  }
}

/** One line of a JSONL file. @throws DataError */
export function parseUtterance(text: string, file: string, line: number): Utterance {
  const refuse: Refuse = (field, expected, got) => {
    throw refusal(file, line, field, expected, got);
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return refuse("line", "JSON", reason(error));
  }
  if (!isObject(json)) return refuse("line", "an object", show(json));
  const parts = Object.hasOwn(json, "messages") ? conversation(json, refuse) : plain(json, refuse);
  return { ...parts, audio: resolve(dirname(file), parts.audio), line };
}

/** An utterance as a line of JSONL, without its end; the path relative to the directory where the line will stand. */
export function utteranceLine(utterance: Omit<Utterance, "line">, directory: string): string {
  const { audio, start, end, prompt, text, transcript } = utterance;
  const path = relative(resolve(directory), resolve(audio));
  return JSON.stringify({
    audio: isAbsolute(path) ? path : path.split(sep).join("/"),
    start,
    end,
    prompt,
    text,
    transcript,
  });
}

type Parts = Omit<Utterance, "line">;
type Refuse = (field: string, expected: string, got: string) => never;

const [OPEN, CLOSE] = ["<|startofspeech|>", "<|endofspeech|>"];
const SYSTEM = "You are a helpful assistant.";

function plain(json: JsonObject, refuse: Refuse): Parts {
  const { audio, text, prompt, transcript } = json;
  if (typeof audio !== "string" || audio === "") return refuse("audio", "a path", show(audio));
  if (typeof text !== "string") return refuse("text", "a text", show(text));
  if (prompt !== undefined && typeof prompt !== "string") return refuse("prompt", "a text", show(prompt));
  if (transcript !== undefined && typeof transcript !== "string")
    return refuse("transcript", "a text", show(transcript));
  const start = seconds(json, "start", refuse);
  const end = seconds(json, "end", refuse);
  if (end !== undefined && end <= (start ?? 0))
    return refuse("end", `more than start ${start ?? 0}`, show(end));
  return {
    audio,
    ...(start === undefined ? {} : { start }),
    ...(end === undefined ? {} : { end }),
    ...(prompt === undefined ? {} : { prompt }),
    text,
    ...(transcript === undefined ? {} : { transcript }),
  };
}

function seconds(json: JsonObject, field: "start" | "end", refuse: Refuse): number | undefined {
  const value = json[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  return refuse(field, "seconds from 0", show(value));
}

/** One exchange, with the audio at the end of the user's words. */
function conversation({ messages }: JsonObject, refuse: Refuse): Parts {
  if (!Array.isArray(messages)) return refuse("messages", "a list", show(messages));
  const turns: unknown[] = messages;
  const said = turns.map((turn, i): [string, string] => {
    const { role, content } = isObject(turn) ? turn : {};
    if (typeof role === "string" && typeof content === "string") return [role, content];
    return refuse(`messages.${i}`, "role and content as texts", show(turn));
  });
  const [system, ...others] = said[0]?.[0] === "system" ? said : [["system", SYSTEM], ...said];
  if (system[1] !== SYSTEM) return refuse("messages.0.content", show(SYSTEM), show(system[1]));
  const roles = others.map(([role]) => role).join(", ");
  if (roles !== "user, assistant")
    return refuse("messages", "one user and one assistant turn", roles || "none");
  const [[, asked], [, text]] = others;
  const parts = asked.split(OPEN);
  const [path, after] = parts[1]?.split(CLOSE) ?? [];
  if (parts.length !== 2 || after === undefined || !path.startsWith("!"))
    return refuse("user", `one ${OPEN}!PATH${CLOSE}`, show(asked));
  if (path.length < 2) return refuse("user", `a path between ${OPEN}! and ${CLOSE}`, "none");
  if (after.trim() !== "") return refuse("user", "nothing after the audio", show(after));
  return { audio: path.slice(1), ...(parts[0] === "" ? {} : { prompt: parts[0] }), text };
}

function refusal(file: string, line: number, field: string, expected: string, got: string): DataError {
  const advice = "mend the line, or leave it out (data and train: --skip-bad)";
  return new DataError({ file: `${file}:${line}`, field, expected, got, advice });
}
