import { DataError } from "../../data/errors.js";
import { lineText, readLines } from "../../data/lines.js";
import { type Utterance, parseObject, utteranceFrom } from "../../data/utterances.js";
import type { FunasrError } from "../../errors.js";
import { type Hypothesis, givenRecord, hypothesisOf, placeKey } from "../../evaluate/hypotheses.js";
import type { BleuTokenizer } from "../../evaluate/metrics/bleu-tokenizers.js";
import { type Normalizer, textForm } from "../../evaluate/metrics/text-form.js";
import { type Task, isFailed } from "../../evaluate/record.js";
import { summarize } from "../../evaluate/summary.js";
import { scoresText } from "../../evaluate/tables.js";
import { exitCode, note, print, printJson, report } from "../output.js";
import { readData } from "./data.js";

interface HypothesesOptions {
  readonly data?: string;
  readonly audio?: string;
  readonly limit?: number;
  readonly task: Task;
  readonly to?: "en" | "zh";
  readonly tokenizer?: BleuTokenizer;
  readonly normalize?: readonly Normalizer[];
  readonly agreement?: boolean;
  readonly seed: number;
  readonly json?: boolean;
  readonly debug?: boolean;
}

type OnBad = (error: FunasrError, place: string) => void;

interface Given {
  readonly texts: ReadonlyMap<string, Hypothesis>;
  /** Lines with a reference of their own. */
  readonly utterances: readonly Utterance[];
}

/**
 * Prints the scores of texts that some run gave, without a model: those of a corpus's merge, or any
 * JSONL of `{audio, text}`. References are those of --data, or of the lines themselves.
 */
export async function evaluateHypotheses(file: string, options: HypothesesOptions): Promise<void> {
  const onBad: OnBad = (error, place) => report(error, options.debug === true, place);
  const given = await readHypotheses(file, onBad);
  const { data, task, to, tokenizer, seed, limit = Infinity } = options;
  const utterances =
    data === undefined
      ? given.utterances.slice(0, limit)
      : (await readData(data, { onBad, onNote: note }, limit, options.audio)).utterances;
  if (utterances.length === 0) {
    const advice = "name the references with --data";
    throw new DataError({ file, field: "reference", expected: "one in a line or more", got: "none", advice });
  }
  const records = utterances.map((utterance) => {
    const { agreement, ...found } = given.texts.get(placeKey(utterance)) ?? { agreement: undefined };
    const hypothesis = "text" in found ? found : undefined;
    const asked = options.agreement && hypothesis && agreement !== undefined;
    return givenRecord(utterance, asked ? { ...hypothesis, agreement } : hypothesis, task);
  });
  const form = await textForm(options.normalize ?? []);
  const all = summarize(records, { task, ...(to && { to }), ...(tokenizer && { tokenizer }), seed, form });
  const summary = { ...all, latency: undefined }; // nothing was timed
  if (options.json) printJson({ hypotheses: file, data, summary });
  else print(scoresText("given", summary));
  const failed = records.filter(isFailed);
  if (failed.length === 0) return;
  process.exitCode = exitCode.inputFailed;
  note(`${failed.length} utterances have no text, such as ${failed[0].error}`);
}

async function readHypotheses(file: string, onBad: OnBad): Promise<Given> {
  const texts = new Map<string, Hypothesis>();
  const utterances: Utterance[] = [];
  for await (const read of readLines(file)) {
    try {
      const text = lineText(read, file);
      if (text.trim() === "") continue;
      const json = parseObject(text, file, read.line);
      const { reference } = json;
      const hasReference = typeof reference === "string";
      // the segments of the line are those that were heard
      const plain = {
        ...json,
        text: hasReference ? reference : "",
        segments: undefined,
        transcript: undefined,
      };
      const utterance = utteranceFrom(plain, file, read.line);
      texts.set(placeKey(utterance), hypothesisOf(json));
      if (hasReference) utterances.push(utterance);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      onBad(error, `${file}:${read.line}`);
    }
  }
  return { texts, utterances };
}
