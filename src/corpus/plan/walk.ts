import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Found } from "./found.js";

/** Names of audio files. */
export const AUDIO = /\.(?:wav|w64|aiff?|aifc|au|snd|mp3|flac|ogg|oga|opus|m4a|mp4|aac|webm|weba)$/iu;

/** Audio files of a directory and those below it, in the order of their names. */
export async function* fromDirectory(path: string): AsyncGenerator<Found, void, undefined> {
  const entries = await readdir(path, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const file = join(path, entry.name);
    if (entry.isDirectory()) yield* fromDirectory(file);
    else if (AUDIO.test(entry.name)) yield { item: { audio: file } };
  }
}
