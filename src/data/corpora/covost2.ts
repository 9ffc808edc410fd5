import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { show } from "../../json.js";
import { TRANSLATION } from "../../tokenizer/translation.js";
import { dataError } from "../errors.js";
import { lineText, readLines } from "../lines.js";
import {
  type Corpus,
  type CorpusOptions,
  type Found,
  isDirectory,
  isFile,
  otherLayout,
  utteranceOf,
} from "./corpus.js";

interface Row {
  readonly line: number;
  readonly fields: ReadonlyMap<string, string>;
  /** The row has as many fields as the header. */
  readonly isComplete: boolean;
}

/** Rows of a TSV with a header. A backslash escapes the next character; there are no quotes. */
async function* readTsv(file: string): AsyncGenerator<Row, void, undefined> {
  let header: string[] | undefined;
  for await (const read of readLines(file)) {
    const cells = lineText(read, file)
      .split("\t")
      .map((cell) => cell.replaceAll(/\\(.)/gu, "$1"));
    if (!header) {
      header = cells;
      if (!cells.includes("path"))
        throw dataError(
          `${file}:${read.line}`,
          "header",
          "a column path",
          cells.map(show).join(", "),
          otherLayout,
        );
      continue;
    }
    const fields = new Map(header.map((name, i) => [name, cells[i] ?? ""]));
    yield { line: read.line, fields, isComplete: cells.length === header.length };
  }
}

/**
 * Reads a TSV of CoVoST 2. Its script makes `covost_v2.SOURCE_TARGET.SPLIT.tsv` with path, sentence
 * and translation. The published `covost_v2.SOURCE_TARGET.tsv` has path, translation and split; its
 * sentences are in Common Voice's `validated.tsv`. The clips are Common Voice's.
 */
async function* readCovost2(path: string, options: CorpusOptions): AsyncGenerator<Found, void, undefined> {
  const file = await findTsv(path, options.split);
  const root = options.audio ?? dirname(file);
  const clips = (await isDirectory(join(root, "clips"))) ? join(root, "clips") : root;
  const translate = options.task !== "transcribe";
  const sentences = translate ? undefined : await readSentences(file, root);
  const prompt = options.prompt ?? (translate ? translationPrompt(file) : undefined);
  for await (const { line, fields, isComplete } of readTsv(file)) {
    const where = `${file}:${line}`;
    const name = fields.get("path") ?? "";
    const split = fields.get("split");
    if (split !== undefined && options.split !== undefined && split !== options.split) continue;
    if (!isComplete || name === "") {
      yield { skipped: where, why: isComplete ? "no path" : "another number of fields than the header" };
      continue;
    }
    const sentence = fields.get("sentence") ?? sentences?.get(name);
    const text = translate ? fields.get("translation") : sentence;
    if (text === undefined) yield { skipped: where, why: translate ? "no translation" : "no sentence" };
    else yield await utteranceOf(where, join(clips, basename(name)), text, { prompt });
  }
}

async function findTsv(path: string, split: string | undefined): Promise<string> {
  if (await isFile(path)) return path;
  const names = (await isDirectory(path)) ? (await readdir(path)).sort() : [];
  const tables = names.filter((name) => /^covost_v2\..+\.tsv$/.test(name));
  const ofSplit = tables.filter((name) => name.endsWith(`.${split ?? "train"}.tsv`));
  const found = ofSplit.length > 0 ? ofSplit : tables.filter((name) => /^covost_v2\.[^.]+\.tsv$/.test(name));
  if (found.length === 1) return join(path, found[0]);
  throw dataError(
    path,
    "directory",
    "one covost_v2.*.tsv of that split",
    found.length === 0 ? "none" : found.join(", "),
    "name the file itself",
  );
}

/** The sentences for a published TSV, which does not have them. */
async function readSentences(file: string, root: string): Promise<Map<string, string> | undefined> {
  const first = await readTsv(file).next();
  if (first.done || first.value.fields.has("sentence")) return undefined;
  const validated = join(root, "validated.tsv");
  if (!(await isFile(validated))) throw dataError(validated, "file", "Common Voice's sentences", "none");
  const sentences = new Map<string, string>();
  for await (const { fields } of readTsv(validated))
    sentences.set(fields.get("path") ?? "", fields.get("sentence") ?? "");
  return sentences;
}

/** The request for the target language in the file's name. */
function translationPrompt(file: string): string {
  const [, target] = /^covost_v2\.[^._]+_([^.]+)\./.exec(basename(file)) ?? [];
  const language = target?.split("-")[0].toLowerCase();
  if (language === "zh" || language === "en") return TRANSLATION.speech[language][0];
  throw dataError(
    file,
    "target language",
    "en or zh, which have a wording",
    show(target),
    "give the wording with --prompt",
  );
}

export const covost2: Corpus = {
  layout: "CoVoST 2 TSV, or the directory that holds it; --audio is Common Voice's directory of the language",
  read: readCovost2,
};
