import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Writes a WAV of clips of the demo, with a silence before each and two behind the last.
 * @param seconds  of a silence
 * @returns        the file's path
 */
export function recordingOf(
  { clips, scratch }: { readonly clips: string; readonly scratch: string },
  file: string,
  names: readonly string[],
  seconds: number,
): string {
  const silence = Buffer.alloc(2 * 16_000 * seconds);
  const read = names.map((name) => readFileSync(join(clips, `${name}.wav`)));
  const body = Buffer.concat([...read.flatMap((clip) => [silence, clip.subarray(44)]), silence, silence]);
  const header = Buffer.from(read[0].subarray(0, 44));
  header.writeUInt32LE(36 + body.length, 4);
  header.writeUInt32LE(body.length, 40);
  const path = join(scratch, file);
  writeFileSync(path, Buffer.concat([header, body]));
  return path;
}
