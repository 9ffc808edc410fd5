import { count } from "../report/text.js";
import { realpath } from "node:fs/promises";
import { dirname, extname, relative, sep } from "node:path";
import { Argument, Command, Option } from "commander";
import { type Answer, answerer } from "../data/answers.js";
import { audioSeconds } from "../data/audio-length.js";
import { CORPORA } from "../data/corpora/all.js";
import { type CorpusOptions, type Found, isFile, missing } from "../data/corpora/corpus.js";
import { DataError } from "../data/errors.js";
import { type Utterance, readUtterances, utteranceLine } from "../data/utterances.js";
import { loadGenerator } from "../decode/load.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { decodeClip } from "../node/clip.js";
import { writeFileAtomic } from "../node/files.js";
import { checkOutput, fileIdentity } from "../node/output-place.js";
import { withDevice } from "./device.js";
import { findModel, modelForms, warnOf, weightsOption } from "./model.js";
import { natural } from "./numbers.js";
import { describe, note, print, printJson, printPart, shown, status } from "./output.js";
import { refuseIdle } from "./usage.js";

interface DataOptions extends CorpusOptions {
  readonly out: string;
  readonly force?: boolean;
  readonly skipBad?: boolean;
  readonly strict?: boolean;
  readonly limit?: number;
  readonly answers?: string;
  readonly model?: string;
  readonly weights?: WeightFormat;
  readonly maxTokens: number;
  readonly json?: boolean;
}

type Words = Omit<Utterance, "line">;

/** How much was written, and how much was skipped. */
interface Tally {
  utterances: number;
  seconds: number;
  /** Utterances of unknown length; not in `seconds`. */
  unknown: number;
  skipped: number;
}

const JSONL = "jsonl";
const STDOUT = "-";

export function dataCommand(): Command {
  const layouts = Object.entries(CORPORA).map(([name, { layout }]) => `  ${name.padEnd(12)} ${layout}`);
  return new Command("data")
    .description(
      "make a JSONL of utterances, which train and evaluate read, from a corpus on disk; audio stays where it is",
    )
    .addArgument(new Argument("<layout>", "form of the corpus").choices([...Object.keys(CORPORA), JSONL]))
    .argument("<path>", "directory or file")
    .option(
      "--out <file>",
      "JSONL to write, with paths relative to it; -: to standard output, with paths relative to the current directory",
    )
    .option("--force", "replace an existing file")
    .option("--split <name>", "part of the corpus; default: all of it")
    .option(
      "--prompt <text>",
      "the user's words before every clip; default: the checkpoint's request to transcribe",
    )
    .option(
      "--audio <dir>",
      "covost2: Common Voice's directory of the language, stm: that of the recordings; default: where the TSV or STM is",
    )
    .addOption(
      new Option("--task <task>", "covost2: translation or sentence as the answer").choices([
        "translate",
        "transcribe",
      ]),
    )
    .option("--skip-bad", "jsonl: report and leave out bad lines")
    .option(
      "--strict",
      "decode all audio; report and leave out files that are cut short, damaged or not audio",
    )
    .option("--limit <count>", "stop after this many utterances", natural)
    .option(
      "--answers <wording>",
      "write an LLM's answer to each transcript, asked in this wording; {text} stands for the transcript, which otherwise follows",
    )
    .option("--model <model>", `model whose LLM answers: ${modelForms}`)
    .addOption(weightsOption("storage of the LLM's weights on the GPU; default: as in the checkpoint"))
    .option("--max-tokens <count>", "most tokens of an answer; a longer one is skipped", natural, 256)
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `\nLayouts:\n${layouts.join("\n")}\n  ${JSONL.padEnd(12)} JSONL of FunASR's conversations or of {audio, text, prompt?, start?, end?, channel?, transcript?, segments?, ignore?} or of NeMo`,
    )
    .action(async (layout: string, path: string, _: unknown, command: Command) => {
      await makeData(layout, path, command.opts<DataOptions>(), command);
    });
}

async function makeData(layout: string, path: string, options: DataOptions, command: Command): Promise<void> {
  if (command.getOptionValueSource("out") === undefined)
    command.error("error: required option '--out <file>' not specified", { exitCode: 2 });
  if ((options.answers === undefined) !== (options.model === undefined))
    command.error("error: --answers and --model go together", { exitCode: 2 });
  refuseIdle(command, [
    {
      options: ["split"],
      met: ![JSONL, "kaldi", "aishell2", "stm"].includes(layout),
      needs: "a corpus that has parts",
    },
    { options: ["audio"], met: layout === "covost2" || layout === "stm", needs: "covost2 or stm" },
    { options: ["task"], met: layout === "covost2", needs: "covost2" },
    { options: ["skipBad"], met: layout === JSONL, needs: JSONL },
    { options: ["weights", "maxTokens"], met: options.answers !== undefined, needs: "--answers" },
  ]);
  const { out } = options;
  if (out !== STDOUT) await checkOut(path, options);
  const tally: Tally = { utterances: 0, seconds: 0, unknown: 0, skipped: 0 };
  const task = options.task ?? (options.answers === undefined ? "translate" : "transcribe");
  const found =
    layout === JSONL
      ? fromJsonl(path, options)
      : CORPORA[layout as keyof typeof CORPORA].read(path, { ...options, task });
  await withAnswers(options, async (answer) => {
    const made = lines(kept(options.strict ? wholeAudio(found) : found, tally, answer), options, tally);
    if (out !== STDOUT) await writeFileAtomic(out, made);
    else for await (const line of made) printPart(new TextDecoder().decode(line));
  });
  const hours = tally.seconds / 3600;
  if (options.json && out !== STDOUT) printJson({ out, ...tally, hours });
  else {
    const unknown = tally.unknown > 0 ? ` and ${count(tally.unknown)} of unknown length` : "";
    const summary = `${count(tally.utterances)} utterances, ${hours.toFixed(2)} h${unknown}; ${count(tally.skipped)} skipped`;
    if (out === STDOUT) note(summary);
    else print(`${shown(out)}: ${summary}`);
  }
}

/** @throws WriteError  `out` cannot be written, or would replace a file that is to stay */
async function checkOut(path: string, { out, force = false }: DataOptions): Promise<void> {
  await checkOutput(out, { force, inputs: (await isOfCorpus(path, out)) ? [path, out] : [path] });
}

/**
 * Whether `out` is a file of the corpus, whichever names lead to the two, and not a JSONL.
 */
async function isOfCorpus(path: string, out: string): Promise<boolean> {
  const real = (name: string): Promise<string> => realpath(name).catch(() => "");
  const [corpus, file] = [await real(path), await real(out)];
  if (corpus === "" || file === "") return false;
  return relative(corpus, file).split(sep)[0] !== ".." && extname(file) !== `.${JSONL}`;
}

async function* fromJsonl(
  path: string,
  { skipBad, prompt }: DataOptions,
): AsyncGenerator<Found, void, undefined> {
  const bad: string[] = [];
  const onBad = skipBad ? { onBad: ({ message }: { message: string }) => void bad.push(message) } : {};
  const skipped = (): Found[] => bad.splice(0).map((why) => ({ skipped: "bad line", why }));
  for await (const utterance of readUtterances(path, onBad)) {
    yield* skipped();
    const { audio, line } = utterance;
    if (!(await isFile(audio)))
      yield { skipped: `${path}:${line}`, why: `${await missing(audio)}: ${audio}` };
    else yield { utterance: prompt === undefined ? utterance : { ...utterance, prompt } };
  }
  yield* skipped();
}

/** The utterances whose audio decodes whole; others are skipped. */
async function* wholeAudio(found: AsyncIterable<Found>): AsyncGenerator<Found, void, undefined> {
  const faults = new Map<string, string | undefined>();
  for await (const item of found) {
    const audio = "utterance" in item ? item.utterance.audio : undefined;
    if (audio !== undefined && !faults.has(audio)) {
      faults.clear(); // parts of one file follow each other
      faults.set(audio, await faultOf(audio));
    }
    const why = audio === undefined ? undefined : faults.get(audio);
    yield why === undefined ? item : { skipped: "bad audio", why };
  }
}

async function faultOf(audio: string): Promise<string | undefined> {
  try {
    await decodeClip(audio, { strict: true, keep: { rate: 16_000 } }); // memory of one channel
    return undefined;
  } catch (error) {
    return describe(error, audio);
  }
}

/**
 * The utterances, with the LLM's answers where it is asked. Skipped ones are reported and counted.
 */
async function* kept(
  found: AsyncIterable<Found>,
  tally: Tally,
  answer: ((text: string) => Promise<Answer>) | undefined,
): AsyncGenerator<Words, void, undefined> {
  const skip = (where: string, why: string): void => {
    tally.skipped++;
    note(`skipped: ${where}: ${why}`);
  };
  for await (const item of found) {
    if ("note" in item) note(item.note);
    else if ("skipped" in item) skip(item.skipped, item.why);
    else if (!answer) yield item.utterance;
    else {
      const transcript = item.utterance.text;
      const { text, complete } = await answer(transcript);
      // the segments' words are not the answer
      if (complete) yield { ...item.utterance, text, transcript, segments: undefined };
      else skip(item.utterance.audio, `the answer to "${transcript}" has no end`);
    }
  }
}

/** JSONL, its utterances counted. @throws DataError  there are none */
async function* lines(
  utterances: AsyncIterable<Words>,
  { out, limit = Infinity }: DataOptions,
  tally: Tally,
): AsyncGenerator<Uint8Array, void, undefined> {
  const known = new Map<string, number | undefined>();
  const encoder = new TextEncoder();
  const replaced = out === STDOUT ? undefined : await fileIdentity(out);
  for await (const utterance of utterances) {
    if (replaced !== undefined && (await fileIdentity(utterance.audio)) === replaced) throw overAudio(out);
    const seconds = await length(utterance, known);
    tally.utterances++;
    if (seconds === undefined) tally.unknown++;
    else tally.seconds += seconds;
    status(`${count(tally.utterances)} utterances, ${(tally.seconds / 3600).toFixed(2)} h`);
    yield encoder.encode(`${utteranceLine(utterance, dirname(out))}\n`);
    if (tally.utterances >= limit) break;
  }
  if (tally.utterances > 0) return;
  throw new DataError({
    file: out,
    field: "utterances",
    expected: "at least one",
    got: `none, ${tally.skipped} skipped`,
  });
}

function overAudio(out: string): DataError {
  return new DataError({
    file: out,
    field: "out",
    expected: "another file than is read",
    got: "an utterance's audio",
  });
}

async function length(
  { audio, start = 0, end }: Words,
  known: Map<string, number | undefined>,
): Promise<number | undefined> {
  if (end !== undefined) return end - start;
  if (!known.has(audio)) {
    known.clear(); // parts of one file follow each other
    known.set(audio, await audioSeconds(audio).catch(() => undefined));
  }
  const whole = known.get(audio);
  return whole === undefined ? undefined : Math.max(0, whole - start);
}

/** Runs `use` with the LLM that answers, or with undefined where no answers are asked for. */
async function withAnswers(
  { answers, model, weights, maxTokens }: DataOptions,
  use: (answer: ((text: string) => Promise<Answer>) | undefined) => Promise<void>,
): Promise<void> {
  if (answers === undefined || model === undefined) return use(undefined);
  const path = await findModel(model);
  await withDevice(async ({ gpu }) => {
    const generator = await loadGenerator(gpu, path, { weights });
    warnOf(generator.warnings);
    const ask = async (prompt: string): Promise<Answer> => {
      const { text, finish } = await generator.generate({ prompt, thinking: false, maxNewTokens: maxTokens });
      return { text: text.trim(), complete: finish === "stop" };
    };
    await use(answerer(answers, ask));
  });
}
