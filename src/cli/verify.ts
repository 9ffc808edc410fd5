import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Command, Option } from "commander";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { FunasrError } from "../errors.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import { openDevice } from "../node/device.js";
import { openFile } from "../node/files.js";
import { modelFiles } from "../node/model-files.js";
import { openBundle } from "../verify/bundle.js";
import { type StageResult, medianBound, medianRatio, stageBound } from "../verify/compare.js";
import { verifyBundle } from "../verify/verify.js";
import { findModel } from "./model.js";
import { exitCode, note, print, printJson, progressBar, report, table } from "./output.js";

interface VerifyOptions {
  readonly model?: string;
  readonly weights?: WeightFormat;
  readonly stages?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

const committed = fileURLToPath(new URL("../../golden/bundles/", import.meta.url));

/** The committed bundles' paths. @throws FunasrError  this installation has none */
async function committedBundles(): Promise<string[]> {
  const names = await readdir(committed).catch(() => []);
  const bundles = names.filter((name) => name.endsWith(".safetensors")).sort();
  if (bundles.length === 0) {
    throw new FunasrError(
      `verify: expected golden bundles in ${committed}, got none; name the bundles to check`,
    );
  }
  return bundles.map((name) => committed + name);
}

export function verifyCommand(): Command {
  return new Command("verify")
    .description("compare every stage with golden PyTorch tensors; without bundles: all that are committed")
    .argument("[bundles...]", "golden bundles (.safetensors)")
    .option("--model <model>", "take the parameters from this checkpoint instead of the bundle")
    .addOption(
      new Option("--weights <format>", "storage of the weights on the GPU").choices(
        Object.keys(weightBlocks),
      ),
    )
    .option("--stages", "a row per stage; the default where bundles are named")
    .option("--json", "one JSON object per stage")
    .action(async (bundles: string[], _: unknown, command: Command) => {
      const options = command.optsWithGlobals<VerifyOptions>();
      const results = await verifyAll(bundles.length > 0 ? bundles : await committedBundles(), options);
      if (options.json) for (const result of results) printJson(result);
      else printTables(results, options.stages ?? bundles.length > 0);
      summarise(results);
    });
}

async function verifyAll(paths: readonly string[], options: VerifyOptions): Promise<StageResult[]> {
  const model = options.model === undefined ? undefined : await findModel(options.model);
  const { gpu, adapter } = await openDevice();
  note(`device: ${adapter.device} ${adapter.description}`);
  let checkpoint: Checkpoint | undefined;
  const results: StageResult[] = [];
  const bar = progressBar("verifying", paths.length);
  try {
    checkpoint = model === undefined ? undefined : await openCheckpoint(modelFiles(model));
    for (const [i, path] of paths.entries()) {
      bar.update(i);
      try {
        const source = await openFile(path);
        try {
          const bundle = await openBundle(source);
          results.push(
            ...(await verifyBundle(gpu, bundle, {
              parameters: checkpoint,
              weights: options.weights,
              onLoaded: checkpoint && ((bytes) => note(`weights on the GPU: ${bytes} bytes`)),
            })),
          );
        } finally {
          await source.close();
        }
      } catch (error) {
        report(error, options.debug === true, path);
      }
    }
  } finally {
    bar.stop();
    await checkpoint?.close();
    gpu.destroy();
  }
  return results;
}

function number(value: number): string {
  return Number.isFinite(value) ? value.toExponential(2) : String(value);
}

function ratio(value: number): string {
  return Number.isFinite(value) ? value.toFixed(2) : String(value);
}

function verdict({ ok, problem, ratio: got }: StageResult): string {
  if (ok) return "ok";
  return `FAIL ${problem ?? `ratio ${ratio(got)} is above ${stageBound}`}`;
}

function printTables(results: readonly StageResult[], byStage: boolean): void {
  if (results.length === 0) return;
  print(byStage ? stageTable(results) : bundleTable(results));
  const failed = results.filter(({ ok }) => !ok);
  if (failed.length > 0 && !byStage) print(`\nfailed stages:\n${stageTable(failed)}`);
  for (const bundle of new Set(failed.map((result) => result.bundle))) {
    const stages = results.filter((result) => result.bundle === bundle);
    const first = stages.findIndex(({ ok }) => !ok);
    const before = first > 0 ? `last agreeing stage ${stages[first - 1].stage}` : "no stage before it";
    print(`${bundle}: first divergence at ${stages[first].stage}, ${before}`);
  }
}

function stageTable(results: readonly StageResult[]): string {
  const header = ["bundle", "stage", "shape", "error", "PyTorch's", "ratio", "max abs", "cosine", "verdict"];
  const rows = results.map((r) => [
    ...[r.bundle, r.stage, `[${r.shape.join(", ")}]`, number(r.error), number(r.torchError), ratio(r.ratio)],
    ...[number(r.maxAbs), Number.isFinite(r.cosine) ? r.cosine.toFixed(8) : String(r.cosine), verdict(r)],
  ]);
  return table([header, ...rows], [3, 4, 5, 6, 7]);
}

function bundleTable(results: readonly StageResult[]): string {
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
  const rows = [...new Set(results.map(({ bundle }) => bundle))].map((bundle) => {
    const stages = results.filter((result) => result.bundle === bundle);
    const worst = stages.reduce((a, b) => (b.ratio <= a.ratio || Number.isNaN(a.ratio) ? a : b));
    const failed = stages.filter(({ ok }) => !ok).length;
    return [
      ...[bundle, String(stages.length), ratio(medianRatio(stages)), ratio(worst.ratio), number(worst.error)],
      ...[number(worst.torchError), worst.stage, failed === 0 ? "ok" : `${failed} FAIL`],
    ];
  });
  return table([header, ...rows], [1, 2, 3, 4, 5]);
}

function summarise(results: readonly StageResult[]): void {
  const failed = results.filter(({ ok }) => !ok).length;
  const median = medianRatio(results);
  const medianFails = results.length > 0 && !(median <= medianBound);
  if (results.length === 0) note("no stage was compared");
  else
    note(
      `${results.length} stages, ${failed} failed; error over PyTorch's own, against f64: median ${ratio(median)} ` +
        `(at most ${medianBound.toFixed(1)}), bound a stage ${stageBound}`,
    );
  if (results.length === 0 || failed > 0 || medianFails) process.exitCode = exitCode.inputFailed;
}
