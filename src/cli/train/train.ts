import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { Command } from "commander";
import { type Utterance, readUtterances } from "../../data/utterances.js";
import { align, countEdits } from "../../evaluate/metrics/edits.js";
import type { Gpu } from "../../gpu/device.js";
import { loraFiles, modelFiles } from "../../node/model-files.js";
import { badLines } from "../../train/corpus.js";
import { TrainError } from "../../train/errors.js";
import { type Finished, writeReport, writeTrained } from "../../train/finish.js";
import { train } from "../../train/loop.js";
import { checkLora } from "../../train/lora.js";
import { type AskedOptions, checkOptions } from "../../train/options.js";
import { withRunLock } from "../../train/run-lock.js";
import { type DataFile, isBegun, openSession, runFiles } from "../../train/session.js";
import { withDevice } from "../device.js";
import { findModel } from "../model.js";
import { note, print, printJson, progressBar, shown, withBar } from "../output.js";
import { sayIfStopped, stoppable } from "../signals.js";
import { type TrainCliOptions, addTrainOptions, checkUsage, loraOptions, trainOptions } from "./options.js";
import { printPlan } from "./plan.js";
import { trainDisplay } from "./progress.js";

export function trainCommand(): Command {
  const command = new Command("train").description(
    "train a checkpoint's adaptor, a LoRA on its LLM, or its encoder",
  );
  return addTrainOptions(command).action(async (options: TrainCliOptions) => {
    checkUsage(command, options);
    if (options.report !== undefined) {
      const report = await writeReport(options.report, note);
      if (options.json) printJson({ report });
      else print(shown(report));
    } else if (options.plan) {
      await printPlan(options);
    } else {
      const needed = options.export ? (["model", "out"] as const) : (["model", "data", "out"] as const);
      const missing = needed.find((name) => options[name] === undefined);
      if (missing) command.error(`error: required option '--${missing}' not specified`, { exitCode: 2 });
      const { model = "", out = "" } = options;
      if (options.export) {
        await checkRun(out, "check the path");
        await withRunLock(out, () => finish(model, out, options));
      } else await start(model, out, options);
    }
  });
}

/**
 * @throws TrainError  there is no such directory; names the run beside it with the nearest name
 */
async function checkRun(out: string, advice: string): Promise<void> {
  if (existsSync(out)) return;
  const parent = dirname(resolve(out));
  const names = await readdir(parent).catch(() => []);
  const apart = (name: string): number => {
    const { substitutions, insertions, deletions } = countEdits(
      align(Array.from(basename(out)), Array.from(name)),
    );
    return substitutions + insertions + deletions;
  };
  const most = Array.from(basename(out)).length / 3;
  const [nearest] = names
    .filter((name) => apart(name) <= most && holdsRun(join(parent, name)))
    .sort((a, b) => apart(a) - apart(b));
  const meant = nearest === undefined ? "" : `is ${join(dirname(out), nearest)} meant? else `;
  throw new TrainError(`${out}: expected the directory of a run, got none; ${meant}${advice}`);
}

function holdsRun(directory: string): boolean {
  const files = runFiles(directory);
  return isBegun(files) || existsSync(files.metrics);
}

async function start(model: string, out: string, options: TrainCliOptions): Promise<void> {
  if (options.resume) await checkRun(out, "check the path, or leave --resume out");
  sayIfStopped(() => "stopped before the first step; the same command begins again");
  const settings = trainOptions(options);
  checkOptions(settings);
  if (options.tune.includes("lora")) checkLora(loraOptions(options));
  const data = await readData(options.data!, options);
  const validation =
    options.validation === undefined ? undefined : await readData(options.validation, options);
  const path = await findModel(model);
  await withRunLock(out, (check) => run({ path, data, validation, out, settings, check }, options));
}

interface Run {
  /** Of the checkpoint. */
  readonly path: string;
  readonly data: DataFile;
  readonly validation: DataFile | undefined;
  readonly out: string;
  readonly settings: AskedOptions;
  /** Throws where another training has taken the directory. */
  readonly check: () => void;
}

async function run(asked: Run, options: TrainCliOptions): Promise<void> {
  const { path, out } = asked;
  const begun = isBegun(runFiles(out));
  if (begun && !options.resume)
    throw new TrainError(`${out}: expected a new directory, got a run; --resume goes on with it`);
  const stopped = await withDevice(({ gpu }) => trainOn(gpu, { ...asked, begun }, options));
  if (stopped) note(`${shown(out)}: the state is saved; the same command with --resume goes on`);
  else await finish(path, out, options);
}

async function trainOn(
  gpu: Gpu,
  { path, data, validation, out, settings, check, begun }: Run & { readonly begun: boolean },
  options: TrainCliOptions,
): Promise<boolean> {
  const bars = [progressBar("loading"), progressBar("preparing clips")];
  const display = trainDisplay();
  try {
    const session = await openSession(gpu, {
      model: modelFiles(path),
      data,
      validation,
      out,
      options: settings,
      begunWith: loraFiles(options.lora),
      resume: options.resume === true,
      tune: options.tune,
      lora: loraOptions(options),
      cache: options.cache,
      weights: options.weights,
      skipBad: options.skipBad === true,
      strict: options.strict === true,
      onBad: (message) => note(message),
      onLoad: bars[0].update,
      onPrepare: bars[1].update,
    });
    for (const bar of bars) bar.stop();
    if (options.resume && !begun) note(`${shown(out)}: no state was saved yet; the run begins anew`);
    const { stopped } = await stoppable((signal) =>
      train(session.run, options.resume === true, {
        signal,
        onStart: (done, total) => display.start(done, total),
        onStep: (metrics) => {
          check();
          display.step(metrics);
        },
        onValidation: (metrics) => display.validation(metrics),
        onAlarm: (message) => display.alarm(message),
        onFallback: (message) => note(message),
      }),
    );
    display.stop();
    session.free();
    return stopped;
  } finally {
    for (const bar of bars) bar.stop();
    display.stop();
  }
}

/** The checkpoint and the report of a run. */
async function finish(model: string, out: string, options: TrainCliOptions): Promise<void> {
  const dtype = options.dtype && ({ bf16: "BF16", f32: "F32" } as const)[options.dtype];
  const files = modelFiles(await findModel(model));
  const finished = await withBar("writing", (onProgress) =>
    writeTrained(files, out, {
      which: options.export,
      dtype,
      merge: options.merge === true,
      begunWith: loraFiles(options.lora),
      onProgress,
      onFallback: (message) => note(message),
    }),
  );
  const report = await writeReport(out, note);
  const result = { ...finished, report };
  if (options.json) printJson(result);
  else {
    if (finished.checkpoint !== undefined)
      print(`${shown(finished.checkpoint)}: the model of step ${finished.step}`);
    if (finished.lora !== undefined) print(loraLine(finished.lora, finished, model, options));
    print(`${shown(report)}: the curves of the run`);
  }
}

/** How to use a LoRA that was not merged. */
function loraLine(
  lora: string,
  { step, state }: Finished,
  model: string,
  { out = "", lora: begunWith = [] }: TrainCliOptions,
): string {
  const loras = (paths: readonly string[]): string => paths.map((path) => ` --lora ${path}`).join("");
  const merge = `train --model ${model}${loras(begunWith)} --out ${out} --export ${state} --merge`;
  return shown(
    `${lora}: the LoRA of step ${step}; use it with --model ${model}${loras([...begunWith, lora])}, or write a whole checkpoint: ${merge}`,
  );
}

/**
 * A data file's utterances. Bad lines are reported, and refused without --skip-bad.
 */
async function readData(file: string, { skipBad }: TrainCliOptions): Promise<DataFile> {
  const utterances: Utterance[] = [];
  const bad = badLines(file, note);
  const onBad = ({ message }: { readonly message: string }): void => bad.add(message);
  for await (const utterance of readUtterances(file, { onBad })) utterances.push(utterance);
  bad.end();
  if (bad.count > 0 && !skipBad) {
    const [are, them] = bad.count === 1 ? ["is no utterance", "it"] : ["are no utterances", "them"];
    const lines = `${bad.count} of ${bad.count + utterances.length} lines`;
    throw new TrainError(`${file}: ${lines} ${are}; mend ${them}, or skip ${them} with --skip-bad`);
  }
  return { name: file, utterances };
}
