import { stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { parseSegment } from "../../data/corpora/kaldi-parts.js";
import { readTable } from "../../data/corpora/kaldi.js";
import { joinUnspaced } from "../../data/corpora/corpus.js";
import { dataError } from "../../data/errors.js";
import { show } from "../../json.js";
import { lineText, readLines } from "../../data/lines.js";
import type { Found } from "./found.js";

/**
 * Utterances of a `wav.scp`: `ID PATH` a line, or those of `segments` beside it. `text` beside it
 * has what is said. Paths are relative to the directory.
 */
export async function* fromWavScp(file: string): AsyncGenerator<Found, void, undefined> {
  const directory = dirname(file);
  const texts = await optional(join(directory, "text"));
  const cuts = join(directory, "segments");
  const said = (id: string): { reference?: string } => {
    const found = texts?.get(id);
    return found ? { reference: joinUnspaced(found.value) } : {};
  };
  if (await isThere(cuts)) {
    const recordings = await readTable(file);
    for await (const { id, value, place } of tableLines(cuts)) {
      const part = parseSegment(value);
      if (typeof part === "string") {
        yield { skipped: place, why: part };
        continue;
      }
      const { recording, ...times } = part;
      const audio = audioOf(directory, recordings.get(recording)?.value);
      if ("why" in audio) yield { skipped: place, why: audio.why };
      else {
        const seconds = times.end === undefined ? undefined : times.end - (times.start ?? 0);
        const length = seconds === undefined ? {} : { seconds };
        yield { item: { key: id, ...audio, ...times, ...said(id), ...length } };
      }
    }
    return;
  }
  for await (const { id, value, place } of tableLines(file)) {
    const audio = audioOf(directory, value);
    if ("why" in audio) yield { skipped: place, why: audio.why };
    else yield { item: { key: id, ...audio, ...said(id) } };
  }
}

async function* tableLines(file: string): AsyncGenerator<{ id: string; value: string; place: string }> {
  const used = new Set<string>();
  for await (const read of readLines(file)) {
    const text = lineText(read, file).trim();
    const [, id, value] = /^(\S+)\s*(.*)$/u.exec(text) ?? [];
    if (id !== undefined && used.has(id))
      throw dataError(`${file}:${read.line}`, "id", "one used once", show(id));
    if (id !== undefined) used.add(id);
    if (id !== undefined) yield { id, value, place: `${file}:${read.line}` };
  }
}

function audioOf(directory: string, value: string | undefined): { audio: string } | { why: string } {
  if (value === undefined) return { why: "its recording is not in wav.scp" };
  if (value === "") return { why: "no path" };
  if (value.includes("\0")) return { why: "a path with a null character" };
  return value.endsWith("|") ? { why: "a command, not a file" } : { audio: resolve(directory, value) };
}

async function optional(file: string): ReturnType<typeof readTable> {
  return (await isThere(file)) ? readTable(file) : new Map<string, { value: string; line: number }>();
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
}
