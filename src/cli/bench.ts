import { digits, table } from "../report/text.js";
import { Command, Option } from "commander";
import { checkPredictions } from "./bench-check.js";
import { tuneAdapter } from "./bench-tune.js";
import { type CountedDevice, countedDevice } from "../gpu/counting.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { demoModel } from "../node/demo.js";
import { type Adapter, adapters, efficiency } from "../presets.js";
import { type Ceilings, measureCeilings } from "../profile/ceiling.js";
import { measuredAdapter } from "../profile/check.js";
import {
  type ClipSizes,
  type ClipWork,
  type Shares,
  countClip,
  evenShares,
  predict,
  usualDevice,
} from "../profile/predict.js";
import { measureShares } from "../profile/shares.js";
import { type Qwen3Size, qwen3Sizes, sizeConfig } from "../train/plan-sizes.js";
import { withDevice } from "./device.js";
import { modelForms, weightFormats, weightsOption } from "./model.js";
import { natural, number } from "./numbers.js";
import { exitCode, note, print, printJson } from "./output.js";
import { refuseIdle } from "./usage.js";

interface BenchCliOptions {
  readonly ceiling?: boolean;
  readonly predict?: boolean;
  readonly tune?: boolean;
  readonly check?: boolean;
  readonly model: string;
  readonly weights?: WeightFormat;
  readonly preset?: string;
  readonly bandwidth?: number;
  readonly peak?: number;
  readonly dispatch?: number;
  readonly seconds: number;
  readonly tokens: number;
  readonly json?: boolean;
}

/** The names of --preset, and the adapters of each. */
const presets: Readonly<Record<string, readonly Adapter[]>> = {
  "m-series": adapters.filter(({ name }) => name.startsWith("Apple")),
  rtx4090: adapters.filter(({ name }) => name === "RTX 4090"),
  h100: adapters.filter(({ name }) => name.startsWith("H100")),
};

const above0 = number("a number above 0", (value) => value > 0);

export function benchCommand(): Command {
  return new Command("bench")
    .description("measure the limits of this adapter, and predict the speed of others")
    .option("--ceiling", "measure copies, multiplications and additions, a dispatch, a readback")
    .option("--predict", "seconds a token and of a clip, from counted bytes, FLOPs and dispatches")
    .option(
      "--tune",
      "time a few tile sizes of each kernel on this adapter and keep the fastest for later runs of every command",
    )
    .addOption(
      weightsOption(
        "of --tune: the only format to tune for, default: all; of --check: storage of the weights, default: as in the checkpoint",
      ),
    )
    .addOption(
      new Option(
        "--preset <name>",
        "predict for GPUs by their data sheets; default: this adapter as measured",
      ).choices(Object.keys(presets)),
    )
    .option("--check", "with --predict: run a clip on this adapter too, and compare stage by stage")
    .addOption(
      new Option("--model <model>", `model of --check: ${modelForms}`).default(demoModel, "the demo"),
    )
    .option("--bandwidth <GB/s>", "predict for an adapter with this bandwidth", above0)
    .option("--peak <TFLOP/s>", "f32 arithmetic of that adapter", above0)
    .option("--dispatch <µs>", "time of a dispatch on that adapter", above0)
    .option("--seconds <seconds>", "length of the predicted clip", above0, 10)
    .option("--tokens <count>", "length of its answer", natural, 50)
    .option("--json", "one JSON object per result")
    .action(async (options: BenchCliOptions, command: Command) => {
      const wrong = wrongUsage(options);
      if (wrong !== undefined) command.error(`error: bench: ${wrong}`, { exitCode: exitCode.wrongUsage });
      const predicting = { options: ["seconds", "tokens", "model", "check"], met: options.predict === true };
      refuseIdle(command, [{ ...predicting, needs: "--predict" }]);
      const run = options.tune ? tuneAdapter : options.check ? checkPredictions : bench;
      await run(options);
    });
}

async function bench(options: BenchCliOptions): Promise<void> {
  const stated = statedAdapters(options);
  if (stated.length > 0) {
    if (options.ceiling) note("bench: --ceiling measures this adapter; it is left out with a stated one");
    note(
      `kernels are assumed to reach ${digits(100 * efficiency.flops)} % of the arithmetic and ${100 * efficiency.bandwidth} % of the bandwidth`,
    );
    const counted = await countModels(options, usualDevice);
    for (const adapter of stated) showPredictions(options, counted, adapter, () => evenShares(efficiency));
    return;
  }
  await withDevice(async ({ gpu, adapter }) => {
    const name = adapter.description || adapter.device;
    const ceilings = await measureCeilings(gpu);
    if (options.ceiling) showCeilings(name, ceilings, options.json);
    if (!options.predict) return;
    const shares = new Map<WeightFormat, Shares>();
    for (const format of weightFormats) shares.set(format, await measureShares(gpu, format, ceilings));
    const counted = await countModels(options, countedDevice(gpu));
    showPredictions(options, counted, measuredAdapter(name, ceilings), (format) => shares.get(format)!);
  });
}

/** The adapters that the options name or describe; empty for this one. */
function statedAdapters({ preset, bandwidth, peak, dispatch }: BenchCliOptions): readonly Adapter[] {
  if (preset !== undefined) return presets[preset];
  if (bandwidth === undefined || peak === undefined || dispatch === undefined) return [];
  const name = `${bandwidth} GB/s, ${peak} TFLOP/s, ${dispatch} µs a dispatch`;
  return [{ name, bandwidth: bandwidth * 1e9, flops: peak * 1e12, dispatch: dispatch / 1e6 }];
}

/** Why the options do not fit together, or undefined. */
function wrongUsage(options: BenchCliOptions): string | undefined {
  const { ceiling, predict, tune, check, weights, preset, bandwidth, peak, dispatch } = options;
  if ([ceiling, predict, tune].every((wanted) => !wanted) || (tune && (ceiling || predict)))
    return "name --ceiling, --predict or both, or --tune alone";
  if (check && (!predict || ceiling)) return "expected --check with --predict alone, got another";
  if (check && options.tokens < 2) return "expected --tokens of 2 or more with --check, got 1";
  if (weights !== undefined && !tune && !check)
    return "expected --tune or --check with --weights, got neither";
  const numbers = [bandwidth, peak, dispatch].filter((value) => value !== undefined).length;
  if (check && (preset !== undefined || numbers > 0))
    return "expected --check, which is of this adapter, or another's figures, got both";
  if (!predict && (preset !== undefined || numbers > 0))
    return `expected --predict with --preset, --bandwidth, --peak or --dispatch, got ${tune ? "--tune" : "--ceiling"} alone`;
  if (preset !== undefined && numbers > 0)
    return "expected --preset or --bandwidth, --peak and --dispatch, got both";
  if (numbers % 3 !== 0)
    return `expected --bandwidth, --peak and --dispatch together, got ${numbers} of them`;
  return undefined;
}

function showCeilings(adapter: string, ceilings: Ceilings, json?: boolean): void {
  if (json) {
    printJson({ adapter, ceilings });
    return;
  }
  const line = (
    name: string,
    { min, median, max }: Ceilings["flops"],
    scale: number,
    unit: string,
  ): string[] => [name, ...[min, median, max].map((value) => digits(value * scale)), unit];
  const { bandwidth, flops, dispatch, readback } = ceilings;
  print(adapter);
  const rows = [
    ["ceiling", "min", "median", "max", ""],
    line("copy, read and written", bandwidth, 1e-9, "GB/s"),
    line("mul + add", flops, 1e-9, "GFLOP/s"),
    line("dispatch", dispatch, 1e6, "µs"),
    line("readback of 4 bytes", readback, 1e6, "µs"),
  ];
  print(table(rows, [1, 2, 3]));
}

/** Each Qwen3 size in each format, with the work of a clip. */
type Counted = readonly {
  readonly size: Qwen3Size;
  readonly weights: WeightFormat;
  readonly work: ClipWork;
}[];

async function countModels(sizes: ClipSizes, device: CountedDevice): Promise<Counted> {
  const models = qwen3Sizes.flatMap((size) => weightFormats.map((weights) => ({ size, weights })));
  const counted = [];
  for (const { size, weights } of models)
    counted.push({ size, weights, work: await countClip(sizeConfig(size), weights, sizes, device) });
  return counted;
}

function showPredictions(
  { seconds, tokens, json }: BenchCliOptions,
  counted: Counted,
  adapter: Adapter,
  shares: (format: WeightFormat) => Shares,
): void {
  const rows = [["LLM", "weights", "ms a token", "tokens/s", "s a clip", "RTF"]];
  for (const { size, weights, work } of counted) {
    const expected = predict(work, { seconds, tokens }, adapter, shares(weights));
    if (json)
      printJson({ adapter: adapter.name, llm: `Qwen3-${size}`, weights, seconds, tokens, ...expected });
    const { token, clip, rtf } = expected;
    rows.push([size, weights, digits(1000 * token), digits(1 / token), digits(clip), digits(rtf)]);
  }
  if (!json) print(`${adapter.name}: a clip of ${seconds} s, ${tokens} tokens\n${table(rows, [2, 3, 4, 5])}`);
}
