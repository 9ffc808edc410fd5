import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isFile } from "../data/corpora/corpus.js";
import { checkReadable } from "../data/lines.js";
import { compareRecords } from "../evaluate/compare.js";
import type { BleuTokenizer } from "../evaluate/metrics/bleu-tokenizers.js";
import { EvaluateError } from "../evaluate/metrics/edits.js";
import { NORMALIZERS, type Normalizer, textForm } from "../evaluate/metrics/text-form.js";
import { parseRecords } from "../evaluate/record.js";
import { isObject } from "../json.js";
import { comparisonText } from "../evaluate/tables.js";
import { print, printJson } from "./output.js";

interface CompareOptions {
  readonly to?: "zh" | "en";
  readonly tokenizer?: BleuTokenizer;
  readonly normalize?: readonly Normalizer[];
  readonly seed: number;
  readonly json?: boolean;
}

/**
 * Prints the comparison of two files of records. Without --normalize, texts take the form of the
 * reports beside the files.
 * @throws EvaluateError  their reports have different forms; translations have no normalisers
 */
export async function compareFiles(files: readonly string[], options: CompareOptions): Promise<void> {
  const [first, second] = await Promise.all(
    files.map(async (file) => {
      await checkReadable(file);
      return parseRecords(await readFile(file, "utf8"), file);
    }),
  );
  const { to, tokenizer, seed } = options;
  const translated = [...first.values()].some(({ task }) => task === "st");
  if (translated && options.normalize)
    throw new EvaluateError("compare: expected recognition for --normalize, got translations; leave it out");
  const names = translated ? [] : (options.normalize ?? (await reportedNames(files)));
  const comparison = compareRecords(first, second, { to, tokenizer, seed, form: await textForm(names) });
  if (options.json) printJson({ files, ...comparison });
  else print(comparisonText(comparison));
}

/** The normalisers of the reports beside the files; none without a report. */
async function reportedNames([first, second]: readonly string[]): Promise<Normalizer[]> {
  const [a, b] = [await namesBeside(first), await namesBeside(second)];
  if (a.join() === b.join()) return a;
  const shownNames = (names: readonly string[]): string => (names.length === 0 ? "none" : names.join());
  throw new EvaluateError(
    `compare: expected scores of one form, got --normalize ${shownNames(a)} beside ${first} and ${shownNames(b)} beside ${second}; name one for both with --normalize`,
  );
}

async function namesBeside(file: string): Promise<Normalizer[]> {
  const path = join(dirname(file), "report.json");
  const there = await isFile(path); // opening a pipe waits for its writer
  const text = there ? await readFile(path, "utf8").catch(() => undefined) : undefined;
  if (text === undefined) return [];
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    return [];
  }
  const settings = isObject(report) && isObject(report.settings) ? report.settings : {};
  const found: unknown[] = Array.isArray(settings.normalize) ? settings.normalize : [];
  return NORMALIZERS.filter((name) => found.includes(name));
}
