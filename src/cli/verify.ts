import { table } from "../report/text.js";
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { FunasrError } from "../errors.js";
import type { Gpu } from "../gpu/device.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { OpenedDevice } from "../node/device.js";
import { openFile } from "../node/files.js";
import { type Kind, bundleKind, openBundle } from "../verify/bundle.js";
import {
  type StageResult,
  boundOf,
  medianBound,
  medianRatio,
  stageBound,
  trainingBound,
} from "../verify/compare.js";
import { type Listed, checkListed, parseManifest } from "../verify/manifest.js";
import { isAllSmall, judgeSmall } from "../verify/small.js";
import { verifyBundle } from "../verify/verify.js";
import { withDevice } from "./device.js";
import { baseOption, findModel, loraOption, openModel, weightsOption } from "./model.js";
import { type OnProgress, exitCode, note, print, printJson, report, shown, withBar } from "./output.js";
import { refuseIdle } from "./usage.js";

interface VerifyOptions {
  readonly model?: string;
  readonly base?: string;
  readonly lora?: readonly string[];
  readonly weights?: WeightFormat;
  readonly stages?: boolean;
  readonly subgroups: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** A bundle to check, with its entry in the manifest if it is a committed one. */
interface Target {
  readonly path: string;
  readonly listed?: Listed;
}

/** A stage's verdict with its file: cases of two files may have one name. */
interface FileResult extends StageResult {
  readonly file: string;
  readonly kind: Kind;
  readonly machine: Machine;
}

/** The machine of the figures: another one sums in another order. */
interface Machine {
  readonly adapter: string;
  readonly driver: string;
  readonly processor: string;
}

const golden = fileURLToPath(new URL("../../golden/", import.meta.url));

/**
 * The committed bundles: all that the manifest lists.
 * @throws FunasrError  this installation has none
 */
async function committedBundles(): Promise<Target[]> {
  const file = `${golden}manifest.json`;
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) {
    throw new FunasrError(
      `verify: expected golden bundles in ${golden}, got none; name the bundles to check`,
    );
  }
  const listed = parseManifest(text, file).filter(({ file }) => file.endsWith(".safetensors"));
  return listed
    .map((entry) => ({ path: `${golden}bundles/${entry.file}`, listed: entry }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

export function verifyCommand(): Command {
  return new Command("verify")
    .description("compare every stage with golden PyTorch tensors; without bundles: all committed ones")
    .argument("[bundles...]", "golden bundles (.safetensors)")
    .option("--model <model>", "take the parameters from this checkpoint instead of the bundle")
    .addOption(baseOption())
    .addOption(loraOption())
    .addOption(
      weightsOption("storage of the weights on the GPU; default: as in the bundle or the checkpoint"),
    )
    .option("--stages", "a row per stage; the default where bundles are named")
    .option("--no-subgroups", "use the kernels for devices without subgroups of one size")
    .option("--json", "one JSON object per stage")
    .action(async (bundles: string[], _: unknown, command: Command) => {
      const options = command.optsWithGlobals<VerifyOptions>();
      refuseIdle(command, [
        { options: ["base", "lora"], met: options.model !== undefined, needs: "--model" },
      ]);
      const named = [...new Set(bundles)].map((path): Target => ({ path }));
      const results = await verifyAll(named.length > 0 ? named : await committedBundles(), options);
      if (options.json) for (const result of results) printJson(result);
      else printTables(results, options.stages ?? bundles.length > 0);
      summarise(results);
    });
}

async function verifyAll(targets: readonly Target[], options: VerifyOptions): Promise<FileResult[]> {
  const model = options.model === undefined ? undefined : await findModel(options.model, options.base);
  const results: FileResult[] = [];
  const about = ({ subgroupSize }: Gpu): string =>
    subgroupSize === undefined ? ", no subgroups" : `, subgroups of ${subgroupSize}`;
  const verifyOn = async ({ gpu, adapter }: OpenedDevice, onProgress: OnProgress): Promise<void> => {
    const machine: Machine = {
      adapter: adapter.device,
      driver: adapter.description,
      processor: cpus()[0]?.model.trim() ?? "unknown",
    };
    const checkpoint = model === undefined ? undefined : await openModel(model, options.lora);
    try {
      for (const [i, target] of targets.entries()) {
        onProgress(i, targets.length);
        const stages = await verifyTarget(gpu, target, checkpoint, options);
        results.push(...stages.map((stage) => ({ ...stage, machine })));
      }
    } finally {
      await checkpoint?.close();
    }
  };
  await withDevice((opened) => withBar("verifying", (onProgress) => verifyOn(opened, onProgress)), {
    subgroups: options.subgroups,
    about,
  });
  const sameKind = (kind: Kind): FileResult[] => results.filter((other) => other.kind === kind);
  return results.flatMap((result) => (result.ok ? [result] : judgeSmall([result], sameKind(result.kind))));
}

/** A bundle's stages; none if it fails, which is reported. */
async function verifyTarget(
  gpu: Gpu,
  { path, listed }: Target,
  checkpoint: Checkpoint | undefined,
  options: VerifyOptions,
): Promise<Omit<FileResult, "machine">[]> {
  try {
    const source = await openFile(path);
    try {
      if (listed) await checkListed(source, listed);
      const bundle = await openBundle(source);
      const stages = await verifyBundle(gpu, bundle, {
        parameters: checkpoint,
        weights: options.weights,
        onLoaded: checkpoint && ((bytes) => note(`weights on the GPU: ${bytes} bytes`)),
      });
      const kind = bundleKind(bundle);
      return stages.map((result) => ({ file: path, kind, ...result }));
    } finally {
      await source.close();
    }
  } catch (error) {
    report(error, options.debug === true, path);
    return [];
  }
}

function number(value: number): string {
  return Number.isFinite(value) ? value.toExponential(2) : String(value);
}

function ratio(value: number): string {
  return Number.isFinite(value) ? value.toFixed(2) : String(value);
}

function verdict({ ok, judged, problem, reason, stage, ratio: got }: StageResult): string {
  if (judged === false) return "measured";
  if (ok) return reason === undefined ? "ok" : `ok (${reason})`;
  return `FAIL ${problem ?? `ratio ${ratio(got)} is above ${boundOf(stage)}`}`;
}

/** A file's stages, with its name in tables. */
interface Group {
  readonly label: string;
  readonly stages: readonly FileResult[];
}

/**
 * Results by file. The label is the case, or the path if another file has that case too.
 */
function byFile(results: readonly FileResult[]): Group[] {
  const groups = new Map<string, FileResult[]>();
  for (const result of results) groups.set(result.file, [...(groups.get(result.file) ?? []), result]);
  const cases = [...groups.values()].map(([{ bundle }]) => bundle);
  return [...groups].map(([file, stages]) => {
    const { bundle } = stages[0];
    const shared = cases.filter((name) => name === bundle).length > 1;
    return { label: shared ? shown(file) : bundle, stages };
  });
}

function printTables(results: readonly FileResult[], stageByStage: boolean): void {
  if (results.length === 0) return;
  const groups = byFile(results);
  const { adapter, driver, processor } = results[0].machine;
  print(`machine: adapter ${shown(adapter)}, driver ${shown(driver)}, processor ${shown(processor)}`);
  print(stageByStage ? stageTable(groups) : bundleTable(groups));
  const failed = groups
    .map(({ label, stages }) => ({ label, stages: stages.filter(({ ok }) => !ok) }))
    .filter(({ stages }) => stages.length > 0);
  if (failed.length > 0 && !stageByStage) print(`\nfailed stages:\n${stageTable(failed)}`);
  for (const { label, stages } of groups) {
    const first = stages.findIndex(({ ok }) => !ok);
    if (first < 0) continue;
    const before = first > 0 ? `last agreeing stage ${stages[first - 1].stage}` : "no stage before it";
    print(`${label}: first divergence at ${stages[first].stage}, ${before}`);
  }
}

function stageTable(groups: readonly Group[]): string {
  const header = ["bundle", "stage", "shape", "error", "PyTorch's", "ratio", "max abs", "cosine", "verdict"];
  const rows = groups.flatMap(({ label, stages }) =>
    stages.map((r) => [
      ...[label, r.stage, `[${r.shape.join(", ")}]`, number(r.error), number(r.torchError), ratio(r.ratio)],
      ...[number(r.maxAbs), Number.isFinite(r.cosine) ? r.cosine.toFixed(8) : String(r.cosine), verdict(r)],
    ]),
  );
  return table([header, ...rows], [3, 4, 5, 6, 7]);
}

function bundleTable(groups: readonly Group[]): string {
  const header = [
    "bundle",
    "stages",
    "median ratio",
    "worst ratio",
    "error",
    "PyTorch's",
    "at stage",
    "verdict",
  ];
  const rows = groups.map(({ label, stages }) => {
    const worst = stages.reduce((a, b) =>
      b.ratio <= a.ratio || (Number.isNaN(a.ratio) && !a.ok) || (Number.isNaN(b.ratio) && b.ok) ? a : b,
    );
    const failed = stages.filter(({ ok }) => !ok).length;
    return [
      ...[label, String(stages.length), ratio(medianRatio(stages)), ratio(worst.ratio), number(worst.error)],
      ...[
        number(worst.torchError),
        worst.stage,
        failed > 0 ? `${failed} FAIL` : stages.some(({ judged }) => judged === false) ? "measured" : "ok",
      ],
    ];
  });
  return table([header, ...rows], [1, 2, 3, 4, 5]);
}

function summarise(results: readonly StageResult[]): void {
  const failed = results.filter(({ ok }) => !ok).length;
  const median = medianRatio(results);
  const judged = results.filter((result) => result.judged !== false);
  const medianFails = judged.length > 0 && !(medianRatio(judged) <= medianBound) && !isAllSmall(judged);
  if (results.length === 0) note("no stage was compared");
  else if (judged.length === 0)
    note(
      `${results.length} stages under rounded weights, measured and not judged; error over PyTorch's own, against f64: median ${ratio(median)}`,
    );
  else
    note(
      `${results.length} stages, ${failed} failed; error over PyTorch's own, against f64: median ${ratio(median)} ` +
        `(at most ${medianBound.toFixed(1)}), bound a stage ${stageBound}, of training ${trainingBound}`,
    );
  if (results.length === 0 || failed > 0 || medianFails) process.exitCode = exitCode.inputFailed;
}
