import { closeSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { rm } from "node:fs/promises";
import { isObject } from "../json.js";
import { writeError } from "./write-error.js";

/** Bytes of a journal at most: those of a week of speech. */
const MOST_BYTES = 512 << 20;

/**
 * What a long run has done so far: a file of JSON values, one a line, behind a first line that names
 * the run. What was appended is there after the process is killed.
 */
export class LineJournal {
  private constructor(
    private readonly path: string,
    private handle: number | undefined,
    /** The values that were there already. */
    readonly found: readonly unknown[],
  ) {}

  /**
   * Opens a journal. A file of another run is emptied, as is one that is no journal.
   * @param run   the same for the same inputs, options and program
   * @param keep  whether the values of the same run stay
   * @throws WriteError  the system refused it
   */
  static open(path: string, run: string, keep: boolean): LineJournal {
    try {
      const handle = openSync(path, "a+");
      const { values, end } = keep ? readLines(handle, run) : { values: [], end: 0 };
      ftruncateSync(handle, end);
      const journal = new LineJournal(path, handle, values);
      if (end === 0) journal.append({ run });
      return journal;
    } catch (error) {
      throw writeError(path, error);
    }
  }

  /** @throws WriteError  the system refused it */
  append(value: unknown): void {
    if (this.handle === undefined) return;
    try {
      const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
      for (let done = 0; done < bytes.length;) done += writeSync(this.handle, bytes, done);
    } catch (error) {
      throw writeError(this.path, error);
    }
  }

  /** What is appended from here on is lost. */
  close(): void {
    if (this.handle !== undefined) closeSync(this.handle);
    this.handle = undefined;
  }

  /** Closes the journal, whose work is done, and removes its file. */
  async remove(): Promise<void> {
    this.close();
    await rm(this.path, { force: true });
  }
}

/** The whole lines of a journal of this run, and where they end; a line that is cut is left out. */
function readLines(handle: number, run: string): { values: unknown[]; end: number } {
  const none = { values: [], end: 0 };
  const text = readText(handle);
  if (text === undefined) return none;
  const values: unknown[] = [];
  let end = 0;
  for (let next = text.indexOf(10); next >= 0; next = text.indexOf(10, end)) {
    const value = parsed(text.subarray(end, next).toString());
    if (end === 0 ? !isObject(value) || value["run"] !== run : value === undefined) break;
    if (end > 0) values.push(value);
    end = next + 1;
  }
  return end === 0 ? none : { values, end };
}

function readText(handle: number): Buffer | undefined {
  const pieces: Buffer[] = [];
  for (let at = 0; at <= MOST_BYTES;) {
    const piece = Buffer.alloc(1 << 20);
    const count = readSync(handle, piece, 0, piece.length, at);
    if (count === 0) return Buffer.concat(pieces);
    pieces.push(piece.subarray(0, count));
    at += count;
  }
  return undefined;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
