import { show } from "../../json.js";
import { MOST_SECONDS, type TimedText } from "../timed-text.js";
import { joinUnspaced } from "./corpus.js";

/** A record of an STM file. */
export interface StmRecord extends TimedText {
  /** Name of the recording, without path and extension. */
  readonly recording: string;
  readonly channel: string;
  /** Whether what is said there counts nowhere. */
  readonly ignored: boolean;
}

/** Why a line is no record. */
export interface StmFault {
  /** Its first column. */
  readonly recording: string;
  readonly why: string;
}

const FORM = "FILE CHANNEL SPEAKER START END TEXT";

/** Speaker of what no segment covers, in TED-LIUM. */
const GAP = "inter_segment_gap";
const IGNORED = /^ignore_time_segment_in_scoring$/iu;

/**
 * Parses a line of STM: FILE CHANNEL SPEAKER START END [<LABEL>] TEXT.
 * @returns  undefined of a comment (`;;`) and of an empty line
 * @source NIST SCTK doc/infmts.htm, "stm"
 */
export function parseStmLine(line: string): StmRecord | StmFault | undefined {
  const trimmed = line.trim();
  if (trimmed === "" || trimmed.startsWith(";;")) return undefined;
  const [, head, rest = ""] = /^((?:\S+\s+){0,4}\S+)(?:\s+(.*))?$/su.exec(trimmed)!;
  const [recording, channel, speaker, from, to] = head.split(/\s+/);
  const fault = (field: string, expected: string, got: string, advice: string): StmFault => ({
    recording,
    why: `${field}: expected ${expected}, got ${got}; ${advice}`,
  });
  if (to === undefined)
    return fault("columns", FORM, `${head.split(/\s+/).length}`, "correct the line, or remove it");
  if (/[/\\]/.test(recording) || recording === "..")
    return fault("file", "a name without a path", show(recording), "name its directory with --audio");
  const [start, end] = [seconds(from), seconds(to)];
  const [times, inSeconds] = [`seconds from 0 to ${MOST_SECONDS}`, "give it in seconds, as 2.5"];
  if (start === undefined) return fault("start", times, show(from), inSeconds);
  if (end === undefined) return fault("end", times, show(to), inSeconds);
  const text = stmText(rest.replace(/^<[^<>\s]*>(?=\s|$)/u, ""));
  if (text === undefined)
    return fault(
      "text",
      "each { of an alternation with its }",
      show(rest),
      "write { a / b }, or one of them",
    );
  const ignored = speaker === GAP || IGNORED.test(text);
  const spoken = ignored ? "" : text;
  if (end < start || (end === start && spoken !== ""))
    return fault(
      "end",
      `more than the start, ${start}`,
      String(end),
      "correct the times, or remove the line",
    );
  return { recording, channel, start, end, text: spoken, ignored };
}

function seconds(text: string): number | undefined {
  const value = /^\+?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/iu.test(text) ? Number(text) : NaN;
  return value <= MOST_SECONDS ? value : undefined;
}

/** What stands for no word that must be said: <sil>, [noise], (optional). */
const NO_WORD = /^(?:<[^<>]*>|\[[^[\]]*\]|\(.*\))$/u;

/**
 * The words of a transcript. Of an alternation `{ a / b / @ }` the first is taken, and `@` is
 * nothing. Optional words in round brackets, and marks such as `<sil>`, `[noise]` and `{SMACK}` are
 * left out, as is the number of a pronunciation in `for(2)`.
 * @returns  undefined where a bracket of an alternation is missing
 */
export function stmText(transcript: string): string | undefined {
  const words: string[] = [];
  const open: { readonly from: number; alternatives: number }[] = [];
  let skipped = 0; // open brackets that are behind their first alternative
  for (const token of transcript.replaceAll(/[{}]/gu, " $& ").split(/\s+/u)) {
    const inner = open.at(-1);
    if (token === "{") open.push({ from: words.length, alternatives: 1 });
    else if (token === "}") {
      if (!inner) return undefined;
      open.pop();
      if (inner.alternatives > 1) skipped--;
      else words.length = inner.from; // a mark
    } else if (token === "/" && inner) {
      if (inner.alternatives++ === 1) skipped++;
    } else if (skipped === 0 && !(token === "@" && inner) && !NO_WORD.test(token)) {
      const word = token.replace(/(?<=.)\(\d+\)$/u, "");
      if (word !== "") words.push(word);
    }
  }
  return open.length > 0 ? undefined : joinUnspaced(words.join(" "));
}
