import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { kindOf } from "../file-kind.js";
import { dataError } from "./errors.js";

/** One line of a text file. */
export interface Line {
  /** Without its end; undefined if it is not UTF-8 or is too long. */
  readonly text: string | undefined;
  /** Why there is no text. */
  readonly problem?: { readonly expected: string; readonly got: string };
  /** Counted from 1. */
  readonly line: number;
}

/** Bytes of a line at most. */
export const MAX_LINE_BYTES = 1 << 20;
const NEWLINE = 0x0a;

/**
 * The lines of a text file, of which one piece and one line are in memory. "\r\n" ends a line too.
 * A byte-order mark at the start is skipped.
 * @throws DataError  not a file, and not an open pipe; compressed, or of another encoding
 */
export async function* readLines(file: string): AsyncGenerator<Line, void, undefined> {
  await checkReadable(file);
  let parts: Uint8Array[] = [];
  let size = 0;
  let line = 0;
  const end = (rest: Uint8Array): Line => {
    line++;
    size += rest.length;
    const result = size > MAX_LINE_BYTES ? tooLong(line) : decode(Buffer.concat([...parts, rest]), line);
    parts = [];
    size = 0;
    return result;
  };
  let isFirst = true;
  for await (const piece of createReadStream(file) as AsyncIterable<Uint8Array>) {
    if (isFirst) refuseOther(file, piece);
    isFirst = false;
    let from = 0;
    for (let newline = piece.indexOf(NEWLINE); newline >= 0; newline = piece.indexOf(NEWLINE, from)) {
      yield end(piece.subarray(from, newline));
      from = newline + 1;
    }
    size += piece.length - from;
    if (size <= MAX_LINE_BYTES) parts.push(piece.subarray(from));
    else parts = []; // too long: only its size counts
  }
  if (size > 0) yield end(new Uint8Array());
}

/** Paths of a shell's `<(...)`: the pipe is open, so reading does not wait for a writer. */
const openPipe = /^(\/dev|\/proc\/(self|\d+))\/fd\/\d+$|^\/dev\/stdin$/;

/** @throws DataError  a directory, device, socket or named pipe */
export async function checkReadable(file: string): Promise<void> {
  const found = await stat(file);
  if (found.isFile() || (found.isFIFO() && openPipe.test(file))) return;
  const advice = found.isDirectory() ? "name a file in it" : "write the lines to a file, and name that";
  throw dataError(file, "type", "a file", kindOf(found), advice);
}

/** First bytes of files that hold no lines of UTF-8; a null character is in UTF-16 without a mark too. */
const others: readonly (readonly [bytes: readonly number[], what: string, advice: string])[] = [
  [[0xff, 0xfe], "UTF-16", "save it as UTF-8"],
  [[0xfe, 0xff], "UTF-16", "save it as UTF-8"],
  [[0x1f, 0x8b], "a gzip file", "unpack it"],
  [[0x28, 0xb5, 0x2f, 0xfd], "a zstd file", "unpack it"],
  [[0xfd, 0x37, 0x7a, 0x58], "an xz file", "unpack it"],
  [[0x50, 0x4b, 0x03, 0x04], "a zip file", "unpack it"],
];

/** @throws DataError  the file is compressed, or of another encoding */
export function refuseOther(file: string, piece: Uint8Array): void {
  const found = others.find(([bytes]) => bytes.every((byte, i) => piece[i] === byte));
  const isNull = piece.subarray(0, 2).includes(0);
  const [, got, advice] = found ?? [[], "null characters: UTF-16, or no text", "save it as UTF-8"];
  if (found || isNull) throw dataError(file, "content", "text in UTF-8", got, advice);
}

function tooLong(line: number): Line {
  const problem = { expected: `at most ${MAX_LINE_BYTES} bytes`, got: "a longer one" };
  return { text: undefined, problem, line };
}

function decode(bytes: Uint8Array, line: number): Line {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: line > 1 }).decode(bytes);
    return { text: text.endsWith("\r") ? text.slice(0, -1) : text, line };
  } catch {
    return { text: undefined, problem: { expected: "UTF-8", got: "other bytes" }, line };
  }
}

/** The text of a line. @throws DataError  it has none */
export function lineText({ text, problem, line }: Line, file: string): string {
  if (text !== undefined) return text;
  throw dataError(`${file}:${line}`, "line", problem!.expected, problem!.got, "is the file damaged?");
}
