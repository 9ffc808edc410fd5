import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Refusal } from "../errors.js";
import { kindOf } from "../file-kind.js";

/** A shell's `<(...)`, which is open already: reading it does not wait for a writer. */
const openPipe = /^(\/dev|\/proc\/(self|\d+))\/fd\/\d+$/;

/**
 * The bytes of a file that the user wrote or edited, or of a pipe that is open already.
 * @param limit   bytes at most; a larger file is not read
 * @param refuse  makes the error
 * @throws what `refuse` makes: a directory, a device, a named pipe, more than `limit` bytes; the
 *         system's error
 */
export async function readSmallFile(
  path: string,
  limit: number,
  refuse: (refusal: Refusal) => Error,
): Promise<Uint8Array> {
  const found = await stat(path);
  const refused = (field: string, expected: string, got: string, advice: string): Error =>
    refuse({ file: path, field, expected, got, advice });
  if (!found.isFile() && !(found.isFIFO() && openPipe.test(path)))
    throw refused("type", "a file", kindOf(found), "name a file");
  const tooLarge = (got: string): Error =>
    refused("size", `at most ${limit} bytes`, got, "leave out what is not needed, or split it");
  if (found.size > limit) throw tooLarge(`${found.size}`);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of createReadStream(path) as AsyncIterable<Uint8Array>) {
    size += piece.length;
    if (size > limit) throw tooLarge("more"); // leaving the loop closes the stream
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}
