import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { kindOf } from "../file-kind.js";
import { DataError } from "./errors.js";

/** One line of a text file. */
export interface Line {
  /** Without its end; undefined where it is not UTF-8 or too long. */
  readonly text: string | undefined;
  /** What stands in the text's way. */
  readonly problem?: { readonly expected: string; readonly got: string };
  /** Counted from 1. */
  readonly line: number;
}

const MAX_LINE_BYTES = 1 << 20;
const NEWLINE = 0x0a;

/**
 * The lines of a text file, read as it goes: at most one piece of the file and one line are in memory. "\r\n" is a line's end too, and a
 * byte-order mark at the beginning is no part of the text.
 * @throws DataError  it is no file, nor a pipe that is open already
 */
export async function* readLines(file: string): AsyncGenerator<Line, void, undefined> {
  await checkReadable(file);
  let parts: Uint8Array[] = [];
  let size = 0;
  let line = 0;
  const end = (rest: Uint8Array): Line => {
    line++;
    size += rest.length;
    const made = size > MAX_LINE_BYTES ? tooLong(line) : decode(Buffer.concat([...parts, rest]), line);
    parts = [];
    size = 0;
    return made;
  };
  for await (const piece of createReadStream(file) as AsyncIterable<Uint8Array>) {
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE, from)) {
      yield end(piece.subarray(from, at));
      from = at + 1;
    }
    size += piece.length - from;
    if (size <= MAX_LINE_BYTES) parts.push(piece.subarray(from));
    else parts = []; // only its length is kept
  }
  if (size > 0) yield end(new Uint8Array());
}

/** What a shell puts in place of `<(...)`: open already, so no wait for a writer. */
const openPipe = /^(\/dev|\/proc\/(self|\d+))\/fd\/\d+$|^\/dev\/stdin$/;

/** @throws DataError  a directory, a device, a socket, a named pipe (opening one waits for its writer) */
export async function checkReadable(file: string): Promise<void> {
  const found = await stat(file);
  if (found.isFile() || (found.isFIFO() && openPipe.test(file))) return;
  const advice = found.isDirectory() ? "name a file in it" : "write the lines to a file, and name that";
  throw new DataError({ file, field: "type", expected: "a file", got: kindOf(found), advice });
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

/** The text of a line that must be sound. @throws DataError */
export function sound({ text, problem, line }: Line, file: string): string {
  if (text !== undefined) return text;
  throw new DataError({
    file: `${file}:${line}`,
    field: "line",
    ...problem!,
    advice: "is the file damaged?",
  });
}
