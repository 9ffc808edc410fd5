import { createReadStream, fstatSync, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import type { DecodedAudio } from "../frontend/audio.js";
import { type DecodeOptions, checkHead, decodeAudio, headBytes } from "../frontend/decode.js";
import { AudioError } from "../frontend/errors.js";
import type { Sink } from "../frontend/hearing.js";
import { type StreamOptions, type Streamed, streamAudio } from "../frontend/stream-audio.js";

/** Bytes that a clip may have: 1 GiB, nine hours of 16-bit mono at 16 kHz. */
export const maxClipBytes = 2 ** 30;

/**
 * Paths of standard input and of a shell's `<(...)`: they are open already, so reading does not
 * wait for a writer.
 */
const openPipe = /^(\/dev|\/proc\/(self|\d+))\/fd\/\d+$/;
const standardInput = new Set(["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"]);

/**
 * Samples of a clip. What its first bytes rule out is refused before the file is read whole.
 * @param file  as readClip
 * @throws AudioError  as readClip and decodeAudio
 */
export async function decodeClip(file: string, options: DecodeOptions = {}): Promise<DecodedAudio> {
  const bytes = await readClip(file, maxClipBytes, (head, size) => checkHead(head, size, file, options));
  return decodeAudio(bytes, file, options);
}

/**
 * Decodes a clip of any length block by block; see streamAudio.
 * @param file  as readClip; a WAV file may have any size
 * @param name  of the clip in errors about its audio
 * @throws AudioError  as readClip and streamAudio
 */
export async function streamClip(
  file: string,
  options: StreamOptions,
  sink: Sink,
  name = file,
): Promise<Streamed> {
  const found = await findClip(file, Infinity);
  if (standardInput.has(file) || !found.isFile()) {
    const bytes = await readClip(file);
    const read = (at: number, length: number): Promise<Uint8Array> =>
      Promise.resolve(bytes.subarray(at, at + length));
    return streamAudio({ size: bytes.length, read }, name, options, sink);
  }
  const handle = await open(file);
  const read = (at: number, length: number): Promise<Uint8Array> => {
    if (length > maxClipBytes) throw tooLarge(name, maxClipBytes, `${length}`);
    return readPart(handle, at, length);
  };
  try {
    return await streamAudio({ size: found.size, read }, name, options, sink);
  } finally {
    await handle.close();
  }
}

/**
 * The bytes of a clip: of a file, of a pipe that is open already, or of standard input.
 * @param file   path; "-" is standard input
 * @param check  sees the first bytes of a larger file, and its size; what it throws ends the
 *               reading
 * @throws AudioError  a directory, a device, a named pipe (opening one waits for its writer), more
 *                     than `limit` bytes
 */
export async function readClip(
  file: string,
  limit = maxClipBytes,
  check: (head: Uint8Array, size: number) => void = () => undefined,
): Promise<Uint8Array> {
  const found = await findClip(file, limit);
  const fromInput = standardInput.has(file);
  if (!fromInput && found.isFile() && found.size > headBytes) return readFileOf(file, found.size, check);
  const stream: AsyncIterable<Uint8Array> = fromInput ? process.stdin : createReadStream(file);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of stream) {
    size += piece.length;
    if (size > limit) throw tooLarge(file, limit, "more"); // leaving the loop closes the stream
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}

/** What the system says of a clip that readClip could read; opens nothing. @throws as readClip */
export async function findClip(file: string, limit = maxClipBytes): Promise<Stats> {
  const fromInput = standardInput.has(file);
  const found = fromInput ? fstatSync(0) : await stat(file);
  checkKind(file, found, fromInput || openPipe.test(file));
  if (found.isFile() && found.size > limit) throw tooLarge(file, limit, `${found.size}`);
  return found;
}

/** A file of known size, into one buffer. */
async function readFileOf(
  file: string,
  size: number,
  check: (head: Uint8Array, size: number) => void,
): Promise<Uint8Array> {
  const handle = await open(file);
  try {
    const head = new Uint8Array(headBytes);
    const { bytesRead } = await handle.read(head, 0, headBytes, 0);
    check(head.subarray(0, bytesRead), size);
    return await readPart(handle, 0, size);
  } finally {
    await handle.close();
  }
}

/** Bytes of a file, fewer where it ends. */
async function readPart(handle: FileHandle, begin: number, length: number): Promise<Uint8Array> {
  const part = new Uint8Array(length);
  let at = 0;
  for (let read = -1; at < length && read !== 0; at += read)
    ({ bytesRead: read } = await handle.read(part, at, Math.min(length - at, 2 ** 26), begin + at));
  return part.subarray(0, at);
}

function checkKind(file: string, found: Stats, open: boolean): void {
  const refuse = (got: string, advice: string): AudioError =>
    new AudioError(file, "type", "a file", got, { advice });
  if (found.isDirectory()) throw refuse("a directory", "name the clips in it");
  if (found.isCharacterDevice() || found.isBlockDevice())
    throw refuse("a device", "record to a file, or pipe a whole clip to -");
  if (!open && found.isFIFO())
    throw refuse("a named pipe, which has no length", "pipe the clip to - instead");
  if (!open && found.isSocket()) throw refuse("a socket", "write the clip to a file");
}

function tooLarge(file: string, limit: number, got: string): AudioError {
  return new AudioError(file, "file size", `at most ${limit} bytes`, got, {
    advice: "cut the clip into parts",
  });
}
