import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Utterance, parseUtterance, utteranceLine } from "../../src/data/utterances.js";
import { TRANSLATION } from "../../src/tokenizer/translation.js";
import { cli, once, run } from "./cli.js";
import { type Test, tests } from "./variants.js";

export const encoder = "models/demo";
export const llm = "experiments/migration/text-llm";
const validationPairs = 40; // transcripts, and as many translations

/** Utterances of a JSONL file. */
export function readJsonl(file: string): Utterance[] {
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.map((line, i) => parseUtterance(line, file, i + 1));
}

function writeJsonl(file: string, utterances: readonly Utterance[]): void {
  const lines = utterances.map((utterance) => `${utteranceLine(utterance, dirname(file))}\n`);
  writeFileSync(file, lines.join(""));
}

/** Clips and JSONL of the recipe, spoken where they are missing. */
export async function speech(work: string, python: string, quick: boolean): Promise<void> {
  const directory = join(work, "speech");
  if (existsSync(join(directory, "test-translations-zh-en.jsonl"))) return;
  const counts = quick ? ["--train", "200", "--validation", "20", "--test", "20"] : [];
  const args = ["experiments/migration/recipe/speech.py", "--work", directory, ...counts];
  await run(python, args, join(work, "logs", "speech.log"));
}

export const testFile = (work: string): string => join(work, "test.jsonl");

export function testSource(work: string, { name, task }: Test): string {
  const kind = task === "recognition" ? "transcripts" : "translations";
  return join(work, "speech", `test-${kind}-${name}.jsonl`);
}

/**
 * One file of all four test sets, `count` lines of each in the order of `tests`; validation of both
 * tasks in turn.
 */
export async function testSets(work: string, count: number): Promise<void> {
  await once(testFile(work), (file) => {
    writeJsonl(
      file,
      tests.flatMap((test) => readJsonl(testSource(work, test)).slice(0, count)),
    );
    return Promise.resolve();
  });
  await once(join(work, "validation.jsonl"), (file) => {
    const of = (kind: string): Utterance[] => readJsonl(join(work, "speech", `validation-${kind}.jsonl`));
    const translations = of("translations");
    writeJsonl(
      file,
      of("transcripts")
        .filter(({ text }) => text !== "")
        .slice(0, validationPairs)
        .flatMap((transcript, i) => [transcript, translations[i]]),
    );
    return Promise.resolve();
  });
}

/** Training data of a variant. */
export async function trainingData(
  work: string,
  data: "transcripts" | "mixed" | "answered",
): Promise<string> {
  if (data !== "answered") return join(work, "speech", `train-${data}.jsonl`);
  return once(join(work, "train-answered.jsonl"), async (file) => {
    const parts = [readJsonl(join(work, "speech", "train-kept.jsonl"))];
    for (const to of ["zh", "en"] as const) {
      const source = join(work, "speech", `train-to-${to}.jsonl`);
      const out = join(work, `answered-${to}.jsonl`);
      parts.push(readJsonl(await answers(work, source, out, to)));
    }
    writeJsonl(file, parts.flat());
  });
}

/** Lets the LLM translate the transcripts of a file. */
async function answers(work: string, source: string, out: string, to: "en" | "zh"): Promise<string> {
  const wordings = ["--answers", `${TRANSLATION.text[to][0]}{text}`, "--prompt", TRANSLATION.speech[to][0]];
  return once(out, (unfinished) =>
    cli(
      ["data", "jsonl", source, "--out", unfinished, "--force", "--model", llm, ...wordings],
      join(work, "logs", "answers.log"),
    ),
  );
}

/**
 * The LLM's translations of a test set's true text, by audio file. Answers without an end are
 * omitted.
 */
export async function translatedTexts(
  work: string,
  { name }: Test,
  count: number,
): Promise<ReadonlyMap<string, string>> {
  const [from, to] = name.split("-") as ["en" | "zh", "en" | "zh"];
  mkdirSync(join(work, "llm"), { recursive: true });
  const limited = await once(join(work, "llm", `test-${from}.jsonl`), (file) => {
    writeJsonl(file, readJsonl(join(work, "speech", `test-transcripts-${from}.jsonl`)).slice(0, count));
    return Promise.resolve();
  });
  const out = await answers(work, limited, join(work, "llm", `${name}.jsonl`), to);
  return new Map(readJsonl(out).map(({ audio, text }) => [audio, text]));
}
