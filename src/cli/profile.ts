import { table } from "../report/text.js";
import { Command, Option } from "commander";
import { loadGenerator, loadTranscriber } from "../decode/load.js";
import type { Gpu } from "../gpu/device.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { Timing } from "../gpu/timing.js";
import { demoModel } from "../node/demo.js";
import { adapterNames } from "../node/device.js";
import { writeFileAtomic } from "../node/files.js";
import { checkOutput } from "../node/output-place.js";
import { measureCeilings } from "../profile/ceiling.js";
import { type Profile, summarise } from "../profile/summary.js";
import { causeRows, groupRows, hostRows, remarks } from "../profile/text.js";
import { type Trace, traceEvents } from "../profile/trace.js";
import { decodeClip, findClip } from "../node/clip.js";
import { adapterName, withDevice } from "./device.js";
import { findModel, loraOption, modelForms, weightsOption } from "./model.js";
import { natural } from "./numbers.js";
import { exitCode, print, printJson, report, status, withBar } from "./output.js";

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

/** The profiled work. @param onStage  called as each stage begins */
type Work = (onStage: (stage: string) => void) => Promise<unknown>;

export function profileCommand(): Command {
  return new Command("profile")
    .description("measure the GPU time of each kernel and stage against the limits of this adapter")
    .argument("[audio]", "clip to transcribe")
    .option("--prompt <text>", "text to answer with the language model alone, instead of a clip")
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .addOption(loraOption())
    .addOption(weightsOption())
    .option("--max-tokens <count>", "new tokens at most", natural, 32)
    .option("--trace <file>", "write a trace that Perfetto and chrome://tracing open")
    .option("--html <file>", "write a page with the roofline and the stages")
    .option("--json", "one JSON object")
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
  await withDevice(
    async ({ gpu, adapter }) => {
      try {
        const work = await prepare(gpu, audio, options);
        const { result, trace } = await measure(gpu, work);
        const what = audio ?? JSON.stringify(options.prompt);
        const about = `${what}, model ${options.model}, weights ${options.weights ?? "as in the checkpoint"}, on ${adapterName(adapter)}`;
        if (options.trace) await writeFileAtomic(options.trace, [Buffer.from(JSON.stringify(trace))]);
        if (options.html) {
          const { profilePage } = await import("../profile/page.js"); // its charts take a while to load
          await writeFileAtomic(options.html, [Buffer.from(profilePage(result, about))]);
        }
        if (options.json) printJson({ about, adapter: adapterNames(adapter), ...result });
        else show(result);
      } catch (error) {
        report(error, options.debug === true);
      }
    },
    { timestamps: true },
  );
}

/** Loads the model, and its clip if there is one. */
async function prepare(gpu: Gpu, audio: string | undefined, options: ProfileCliOptions): Promise<Work> {
  const { maxTokens: maxNewTokens, weights, lora } = options;
  if (audio !== undefined) await findClip(audio);
  const path = await findModel(options.model);
  if (audio === undefined) {
    const generator = await loadGenerator(gpu, path, { weights, lora });
    return (onStage) => {
      onStage("prefill");
      return generator.generate({ prompt: options.prompt!, maxNewTokens });
    };
  }
  const transcriber = await withBar("loading", (onProgress) =>
    loadTranscriber(gpu, path, { weights, lora, onProgress }),
  );
  const bounds = { maxSeconds: transcriber.maxSeconds(), keep: { rate: transcriber.sampleRate } };
  const clip = transcriber.prepare(await decodeClip(audio, bounds), audio);
  return (onStage) => transcriber.transcribe([clip], { maxNewTokens, onStage });
}

/**
 * Runs the work three times: to compile and fill the pools, for its time, and with the time of each
 * dispatch.
 */
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
