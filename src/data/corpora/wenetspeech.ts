import { join } from "node:path";
import { type JsonObject, isObject, show } from "../../json.js";
import { dataError } from "../errors.js";
import { readItems } from "../json-items.js";
import { MOST_SECONDS } from "../timed-text.js";
import { type Corpus, type CorpusOptions, type Found, isFile, joinUnspaced, otherLayout } from "./corpus.js";

/**
 * Reads `WenetSpeech.json`: {audios: [{aid, path, segments: [{sid, begin_time, end_time, text,
 * subsets}]}]}. The utterances are parts of the long files.
 */
async function* readWenetSpeech(
  path: string,
  { split, prompt }: CorpusOptions,
): AsyncGenerator<Found, void, undefined> {
  const file = join(path, "WenetSpeech.json");
  if (!(await isFile(file))) throw dataError(file, "file", "the corpus's metadata", "none", otherLayout);
  for await (const item of readItems(file, "audios")) {
    const { aid, path: name, segments } = isObject(item) ? item : {};
    const where = `${file}: ${typeof aid === "string" ? aid : show(item)}`;
    if (typeof name !== "string" || !Array.isArray(segments)) {
      yield { skipped: where, why: "no path and segments" };
      continue;
    }
    const parts = (segments as unknown[]).filter((part) => split === undefined || isIn(part, split));
    const audio = join(path, name);
    if (parts.length > 0 && !(await isFile(audio))) {
      yield { skipped: where, why: `no such file: ${audio}, for ${parts.length} segments` };
      continue;
    }
    for (const part of parts) yield segment(part, where, audio, prompt);
  }
}

function isIn(part: unknown, split: string): boolean {
  const { subsets } = isObject(part) ? part : {};
  return Array.isArray(subsets) && subsets.includes(split);
}

function segment(part: unknown, audioAt: string, audio: string, prompt: string | undefined): Found {
  const { sid, begin_time: start, end_time: end, text } = isObject(part) ? part : ({} as JsonObject);
  const skipped = typeof sid === "string" ? `${audioAt}: ${sid}` : audioAt;
  if (
    typeof start !== "number" ||
    typeof end !== "number" ||
    !(start >= 0 && end > start && end <= MOST_SECONDS)
  )
    return { skipped, why: `no begin_time before an end_time: ${show(start)}, ${show(end)}` };
  if (typeof text !== "string" || text.trim() === "") return { skipped, why: "no text" };
  const spoken = joinUnspaced(text.trim());
  return { utterance: { audio, start, end, ...(prompt === undefined ? {} : { prompt }), text: spoken } };
}

export const wenetspeech: Corpus = {
  layout:
    "WenetSpeech directory with WenetSpeech.json and audio; --split L, M, S, DEV, TEST_NET or TEST_MEETING",
  read: readWenetSpeech,
};
