import { Command, Option } from "commander";
import type { LiveOptions } from "../../decode/live/options.js";
import { MOST_SILENCE_MS } from "../../decode/vad/segmenter.js";
import type { WeightFormat } from "../../gpu/matrix.js";
import { demoModel } from "../../node/demo.js";
import type { Language } from "../../tokenizer/languages.js";
import { withDevice } from "../device.js";
import { languageOption } from "../language.js";
import { findModel, loraOption, modelForms, weightsOption } from "../model.js";
import { whole } from "../numbers.js";
import { openTranscriber } from "../open-transcriber.js";
import { exitCode, note, setOutput } from "../output.js";
import { stoppable } from "../signals.js";
import { wordList } from "../transcribe-options.js";
import { refuseIdle } from "../usage.js";
import { checkVad, loadVad, vadOption } from "../vad-model.js";
import { LivePrinter } from "./live-printer.js";
import { type LiveModels, liveEngine, runLive } from "./live-run.js";
import { findRecorder } from "./recorder.js";
import { type Source, hear, microphone, standardInput } from "./source.js";

interface ListenCliOptions {
  readonly model: string;
  readonly vad: string;
  readonly lora?: readonly string[];
  readonly weights?: WeightFormat;
  readonly language?: Language;
  readonly hotwords?: readonly string[];
  readonly context?: string;
  readonly itn: boolean;
  readonly device?: string;
  readonly rate: number;
  readonly interval: number;
  readonly maxEndSilence: number;
  readonly json?: boolean;
  readonly debug?: boolean;
}

const standard = "-";

export function listenCommand(): Command {
  return new Command("listen")
    .description("print what is said into a microphone while it is said; Ctrl-C ends it")
    .argument(
      "[source]",
      "-: raw PCM on standard input (16 bits, little-endian, mono); default: the microphone",
    )
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .addOption(loraOption())
    .addOption(weightsOption())
    .addOption(vadOption())
    .addOption(languageOption("spoken language; default: the model detects it, less reliably"))
    .option("--hotwords <words>", "words to expect, separated by commas", wordList)
    .option("--context <text>", "what the speech is about")
    .option("--no-itn", "write numbers as spoken (no inverse text normalisation)")
    .option(
      "--device <name>",
      "microphone, as arecord -D takes it (Linux), or ffmpeg's avfoundation (macOS) or dshow (Windows); default: the system's",
    )
    .option("--rate <hz>", "samples a second of the PCM on standard input", whole(4000, 768_000), 16_000)
    .option("--interval <ms>", "audio between two decodings of the open segment", whole(480, 960), 640)
    .option("--max-end-silence <ms>", "silence that ends a segment", whole(0, MOST_SILENCE_MS), 800)
    .option(
      "--json",
      "one JSON object per event: partial with stable and tentative, final with start, end and text",
    )
    .action(async (source: string | undefined, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<ListenCliOptions>();
      if (source !== undefined && source !== standard)
        command.error(
          `error: argument 'source' is ${JSON.stringify(source)}; expected - or none; transcribe --stream takes files`,
          { exitCode: exitCode.wrongUsage },
        );
      if (source === standard && process.stdin.isTTY)
        command.error("error: argument 'source' is -; expected PCM that is piped in, got a terminal", {
          exitCode: exitCode.wrongUsage,
        });
      refuseIdle(command, [
        { options: ["device"], met: source === undefined, needs: "the microphone, not -" },
        { options: ["rate"], met: source === standard, needs: "PCM on standard input: listen -" },
      ]);
      setOutput(options);
      await listen(source === standard, options);
    });
}

async function listen(fromInput: boolean, options: ListenCliOptions): Promise<void> {
  const { rate, device, weights, lora, debug } = options;
  const recorder = fromInput ? undefined : await findRecorder(device);
  const vad = await checkVad(options.vad, debug);
  if (vad === false) return;
  const model = await findModel(options.model);
  const { language, hotwords, context, itn, interval: stepMs, maxEndSilence: maxEndSilenceMs } = options;
  const prompt = { language, hotwords, context, itn };
  await withDevice(async ({ gpu }) => {
    const transcriber = await openTranscriber(gpu, model, { weights, lora }, prompt, debug);
    if (!transcriber) return;
    const detector = await loadVad(gpu, vad);
    const run = { engine: liveEngine(transcriber), detector };
    const live: LiveOptions = { ...prompt, stepMs, maxEndSilenceMs, wordTimes: false };
    await stoppable(async (signal) => {
      const source = recorder ? microphone(recorder) : standardInput(rate);
      if (recorder) note(`listening by ${recorder.name}; Ctrl-C ends it`);
      await printLive(run, live, source, signal, options.json === true);
    }, "stopping behind the open segment; the same signal again ends the run at once");
  });
}

/** Prints what a source says. @throws as `hear` and `Source.end` */
async function printLive(
  models: LiveModels,
  live: LiveOptions,
  source: Source,
  signal: AbortSignal,
  json: boolean,
): Promise<void> {
  const printer = new LivePrinter({ json });
  try {
    const warnings = await runLive(models, live, printer, (session) => hear(session, source, signal));
    for (const text of warnings) note(`warning: ${text}`);
    if (printer.count === 0) note("no speech was found");
    await source.end();
  } finally {
    source.stop();
  }
}
