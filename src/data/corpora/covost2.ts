import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { show } from "../../json.js";
import { TRANSLATION } from "../../tokenizer/translation.js";
import { DataError } from "../errors.js";
import { readLines, sound } from "../lines.js";
import { type Corpus, type CorpusOptions, type Found, isDirectory, isFile, utteranceOf } from "./corpus.js";

interface Row {
  readonly line: number;
  readonly fields: ReadonlyMap<string, string>;
  /** False where the row has another number of fields than the header. */
  readonly whole: boolean;
}

/** Rows of a TSV with a header: no quotes, a backslash before a character stands for that character. */
async function* readTsv(file: string): AsyncGenerator<Row, void, undefined> {
  let header: string[] | undefined;
  for await (const read of readLines(file)) {
    const cells = sound(read, file)
      .split("\t")
      .map((cell) => cell.replaceAll(/\\(.)/gu, "$1"));
    if (!header) {
      header = cells;
      continue;
    }
    const fields = new Map(header.map((name, i) => [name, cells[i] ?? ""]));
    yield { line: read.line, fields, whole: cells.length === header.length };
  }
}

/**
 * A TSV of CoVoST 2, in either of its forms: `covost_v2.SOURCE_TARGET.SPLIT.tsv` with path, sentence and translation, as its script
 * makes them; or `covost_v2.SOURCE_TARGET.tsv` with path, translation and split, as it is published, its sentences in Common Voice's
 * `validated.tsv`. The clips are Common Voice's.
 */
async function* readCovost2(path: string, options: CorpusOptions): AsyncGenerator<Found, void, undefined> {
  const file = await findTsv(path, options.split);
  const root = options.audio ?? dirname(file);
  const clips = (await isDirectory(join(root, "clips"))) ? join(root, "clips") : root;
  const translate = options.task !== "transcribe";
  const sentences = translate ? undefined : await readSentences(file, root);
  const prompt = options.prompt ?? (translate ? translationPrompt(file) : undefined);
  for await (const { line, fields, whole } of readTsv(file)) {
    const where = `${file}:${line}`;
    const name = fields.get("path") ?? "";
    const split = fields.get("split");
    if (split !== undefined && options.split !== undefined && split !== options.split) continue;
    if (!whole || name === "") {
      yield { skipped: where, why: whole ? "no path" : "another number of fields than the header" };
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
  const all = names.filter((name) => /^covost_v2\..+\.tsv$/.test(name));
  const own = all.filter((name) => name.endsWith(`.${split ?? "train"}.tsv`));
  const found = own.length > 0 ? own : all.filter((name) => /^covost_v2\.[^.]+\.tsv$/.test(name));
  if (found.length === 1) return join(path, found[0]);
  throw new DataError({
    file: path,
    field: "directory",
    expected: "one covost_v2.*.tsv of that split",
    got: found.length === 0 ? "none" : found.join(", "),
    advice: "name the file itself",
  });
}

/** Of a published TSV, which has no sentences of its own. */
async function readSentences(file: string, root: string): Promise<Map<string, string> | undefined> {
  const first = await readTsv(file).next();
  if (first.done || first.value.fields.has("sentence")) return undefined;
  const validated = join(root, "validated.tsv");
  if (!(await isFile(validated)))
    throw new DataError({
      file: validated,
      field: "file",
      expected: "Common Voice's sentences",
      got: "none",
    });
  const sentences = new Map<string, string>();
  for await (const { fields } of readTsv(validated))
    sentences.set(fields.get("path") ?? "", fields.get("sentence") ?? "");
  return sentences;
}

/** The request for the language that the file's name ends in. */
function translationPrompt(file: string): string {
  const [, target] = /^covost_v2\.[^._]+_([^.]+)\./.exec(basename(file)) ?? [];
  const language = target?.split("-")[0].toLowerCase();
  if (language === "zh" || language === "en") return TRANSLATION.speech[language][0];
  throw new DataError({
    file,
    field: "target language",
    expected: "en or zh, which have a wording",
    got: show(target),
    advice: "give the wording with --prompt",
  });
}

export const covost2: Corpus = {
  layout: "CoVoST 2 TSV, or the directory that holds it; --audio is Common Voice's directory of the language",
  read: readCovost2,
};
