import type { Finish } from "../loop.js";

/** Why a text may be no transcript of its audio. */
export type Doubt = Exclude<Finish, "stop"> | "words per second" | "compression";

const MOST_WORDS = 8; // a second; the fastest speakers of English say 6
const SPARE_WORDS = 4;
const MOST_COMPRESSION = 2.4; // as openai-whisper has it

/** Characters of scripts in which a character is about half a word. */
const HALF_WORDS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}]/gu;

/** Whether a segment's text is to be decoded again, and why. */
export async function doubtOf(text: string, finish: Finish, seconds: number): Promise<Doubt | undefined> {
  if (finish !== "stop") return finish;
  if (wordsOf(text) > MOST_WORDS * seconds + SPARE_WORDS) return "words per second";
  return (await compressionRatio(text)) > MOST_COMPRESSION ? "compression" : undefined;
}

/** Words of a text; two characters of Chinese, Japanese, Korean or Thai are one. */
export function wordsOf(text: string): number {
  const characters = text.match(HALF_WORDS)?.length ?? 0;
  const words = text.replace(HALF_WORDS, " ").match(/[\p{L}\p{N}][\p{L}\p{N}\p{M}'’-]*/gu)?.length ?? 0;
  return characters / 2 + words;
}

/** Bytes of a text in UTF-8 for each byte that zlib makes of them. */
export async function compressionRatio(text: string): Promise<number> {
  if (text === "") return 0;
  const blob = new Blob([text]);
  const packed = blob.stream().pipeThrough(new CompressionStream("deflate"));
  return blob.size / (await new Response(packed).arrayBuffer()).byteLength;
}
