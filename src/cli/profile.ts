import { table } from "../report/text.js";
import { Command, Option } from "commander";
import { Generator } from "../decode/generator.js";
import type { Gpu } from "../gpu/device.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import { Timing } from "../gpu/timing.js";
import { demoModel } from "../node/demo.js";
import { modelDirectory, writeFileAtomic } from "../node/files.js";
import { checkOutput } from "../node/output-place.js";
import { ggufPaths, modelFiles } from "../node/model-files.js";
import { measureCeilings } from "../profile/ceiling.js";
import { type Profile, summarise } from "../profile/summary.js";
import { causeRows, groupRows, hostRows, remarks } from "../profile/text.js";
import { type Trace, traceEvents } from "../profile/trace.js";
import { decodeClip } from "../node/clip.js";
import { openDevice } from "./device.js";
import { findModel, loraFiles, loraOption, modelForms } from "./model.js";
import { exitCode, note, print, printJson, report, status } from "./output.js";
import { loadTranscriber, positive } from "./transcribe.js";

interface ProfileCliOptions {
  readonly prompt?: string;
  readonly model: string;
  readonly lora?: readonly string[];
  readonly weights?: WeightFormat;
  readonly maxTokens: number;
  readonly trace?: string;
  readonly html?: string;
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** What is profiled. @param onStage  called as each stage begins */
type Work = (onStage: (stage: string) => void) => Promise<unknown>;

export function profileCommand(): Command {
  return new Command("profile")
    .description("GPU time of each kernel and stage against what this adapter can do")
    .argument("[audio]", "clip to transcribe")
    .option("--prompt <text>", "text to answer with the language model alone, instead of a clip")
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .addOption(loraOption())
    .addOption(
      new Option(
        "--weights <format>",
        "storage of the weights on the GPU; default: as in the checkpoint",
      ).choices(Object.keys(weightBlocks)),
    )
    .option("--max-tokens <count>", "new tokens at most", positive, 32)
    .option("--trace <file>", "write a trace that Perfetto and chrome://tracing open")
    .option("--html <file>", "write a page with the roofline and the stages")
    .option("--json", "one JSON object with all of it")
    .action(async (audio: string | undefined, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<ProfileCliOptions>();
      if ((audio === undefined) === (options.prompt === undefined)) {
        const got = audio === undefined ? "neither" : "both";
        command.error(`error: profile: expected a clip or --prompt, got ${got}`, {
          exitCode: exitCode.wrongUsage,
        });
      }
      await profile(audio, options);
    });
}

async function profile(audio: string | undefined, options: ProfileCliOptions): Promise<void> {
  for (const file of [options.trace, options.html]) if (file !== undefined) await checkOutput(file);
  const { gpu, adapter } = await openDevice({ timestamps: true });
  note(`device: ${adapter.device} ${adapter.description}`);
  try {
    const work = await prepare(gpu, audio, options);
    const { result, trace } = await measure(gpu, work);
    const what = audio ?? JSON.stringify(options.prompt);
    const about = `${what}, model ${options.model}, weights ${options.weights ?? "as in the checkpoint"}, on ${adapter.device} ${adapter.description}`;
    if (options.trace) await writeFileAtomic(options.trace, [Buffer.from(JSON.stringify(trace))]);
    if (options.html) {
      const { profilePage } = await import("../profile/page.js"); // its charts take a while to load
      await writeFileAtomic(options.html, [Buffer.from(profilePage(result, about))]);
    }
    if (options.json) printJson({ about, adapter: { ...describeAdapter(adapter) }, ...result });
    else show(result);
  } catch (error) {
    report(error, options.debug === true);
  } finally {
    status("");
    gpu.destroy();
  }
}

function describeAdapter({ vendor, architecture, device, description }: GPUAdapterInfo): object {
  return { vendor, architecture, device, description };
}

/** Loads the model and what it is to work on. */
async function prepare(gpu: Gpu, audio: string | undefined, options: ProfileCliOptions): Promise<Work> {
  const { maxTokens: maxNewTokens, weights, lora } = options;
  const path = await findModel(options.model);
  if (audio === undefined) {
    const files = ggufPaths(path) ? modelFiles(path) : modelDirectory(path);
    const generator = await Generator.load(gpu, files, { weights, lora: loraFiles(lora) });
    return (onStage) => {
      onStage("prefill");
      return generator.generate({ prompt: options.prompt!, maxNewTokens });
    };
  }
  const transcriber = await loadTranscriber(gpu, path, { weights, lora });
  const bounds = { maxSeconds: transcriber.maxSeconds(), keep: { rate: transcriber.sampleRate } };
  const clip = transcriber.prepare(await decodeClip(audio, bounds), audio);
  return (onStage) => transcriber.transcribe([clip], { maxNewTokens, onStage });
}

/** Runs the work three times: to compile and fill the pools, for its time, and with the time of each dispatch. */
async function measure(gpu: Gpu, work: Work): Promise<{ result: Profile; trace: Trace }> {
  status("warming up");
  await work(() => undefined);
  const before = performance.now();
  await work(() => undefined);
  const plainWall = performance.now() - before;
  status("profiling");
  const timing = (gpu.timing = new Timing(gpu.device));
  const start = performance.now();
  await work((stage) => (timing.label = stage)).finally(() => (gpu.timing = undefined));
  const end = performance.now();
  const run = await timing.collect();
  status("measuring the ceilings");
  const ceilings = await measureCeilings(gpu);
  return { result: summarise(run, { start, end }, plainWall, ceilings), trace: traceEvents(run) };
}

const right = (first: number): number[] => Array.from({ length: 8 }, (_, i) => first + i);
const shownShapes = 16;

function show(profile: Profile): void {
  const { stages, kernels, shapes } = profile;
  const tables = [
    table(groupRows(stages), right(1)),
    table(groupRows(kernels), right(2)),
    `the longest by shape\n${table(groupRows(shapes, shownShapes), right(2))}`,
    table(causeRows(profile), [1, 2]),
    table(hostRows(profile), [1, 2]),
  ];
  print([...tables, remarks(profile).join("\n")].join("\n\n"));
}
