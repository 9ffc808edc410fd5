import { join } from "node:path";
import { filesBelow } from "../../data/files-below.js";
import type { Found } from "./found.js";

/** Names of audio files. */
export const AUDIO = /\.(?:wav|w64|aiff?|aifc|au|snd|mp3|flac|ogg|oga|opus|m4a|mp4|aac|webm|weba)$/iu;

/** Audio files of a directory and those below it, in the order of their names. */
export async function* fromDirectory(path: string): AsyncGenerator<Found, void, undefined> {
  for await (const name of filesBelow(path))
    if (AUDIO.test(name)) yield { item: { audio: join(path, name) } };
}
