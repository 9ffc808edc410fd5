import { readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { corpusError } from "../errors.js";
import type { Found } from "./found.js";
import { fromJsonl } from "./jsonl.js";
import { fromWavScp } from "./kaldi.js";
import { fromTar } from "./tar.js";
import { fromDirectory } from "./walk.js";

/**
 * The utterances of an input: JSONL, `wav.scp` or a directory with one, WebDataset tars or a
 * directory of them, or a directory of audio files.
 * @throws CorpusError  none of these
 */
export async function* readInput(path: string): AsyncGenerator<Found, void, undefined> {
  const input = resolve(path);
  const found = await stat(input);
  if (found.isDirectory()) {
    const inside = (await readdir(input, { withFileTypes: true })).filter((entry) => !entry.isDirectory());
    const names = inside.map(({ name }) => name).sort();
    const tars = names.filter((name) => /\.tar$/iu.test(name));
    if (names.includes("wav.scp")) yield* fromWavScp(join(input, "wav.scp"));
    else if (tars.length > 0) for (const name of tars) yield* fromTar(join(input, name));
    else yield* fromDirectory(input);
  } else if (/\.tar$/iu.test(input)) yield* fromTar(input);
  else if (/\.scp$/iu.test(basename(input))) yield* fromWavScp(input);
  else if (/\.(?:jsonl|json|ndjson|manifest|list|txt)$/iu.test(input)) yield* fromJsonl(input);
  else {
    const expected = "JSONL, wav.scp, a tar, or a directory";
    throw corpusError(path, "input", expected, "another file", "list clips in a JSONL file, one a line");
  }
}
