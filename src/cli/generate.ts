import { Command, Option } from "commander";
import type { Generation, Generator } from "../decode/generator.js";
import { loadGenerator } from "../decode/load.js";
import { isSampled } from "../decode/sampler.js";
import type { SamplingOptions } from "../decode/sampling.js";
import type { WeightFormat } from "../weights/loader.js";
import { demoModel } from "../node/demo.js";
import { withDevice } from "./device.js";
import { type Loading, timeLoading } from "./loaded.js";
import { findModel, loraOption, warnOf, weightsOption } from "./model.js";
import { natural, number, positive, whole } from "./numbers.js";
import { note, print, printJson, printPart } from "./output.js";

interface GenerateCliOptions extends SamplingOptions {
  readonly model: string;
  readonly lora?: readonly string[];
  readonly system?: string;
  readonly maxTokens?: number;
  readonly think: boolean;
  readonly weights?: WeightFormat;
  readonly json?: boolean;
}

const share = number("a number from 0 to 1", (value) => value >= 0 && value <= 1);

export function generateCommand(): Command {
  return new Command("generate")
    .description(
      "answer a prompt with the language model alone; the likeliest token each time, unless sampled",
    )
    .argument("<prompt>", "what to answer")
    .addOption(
      new Option(
        "--model <path>",
        "Qwen3 directory or GGUF file, Fun-ASR checkpoint or ENCODER.gguf,LLM.gguf, whose LLM is used, or OWNER/NAME[@REVISION] on the hub",
      ).default(demoModel, "the demo"),
    )
    .addOption(loraOption())
    .option("--system <text>", "instructions to the model, before the prompt")
    .option("--max-tokens <count>", "new tokens at most; default: 512, or what the context leaves", natural)
    .option("--temperature <number>", "draw tokens, scores divided by this", positive)
    .option("--top-k <count>", "draw from the k likeliest tokens", whole(0))
    .option("--top-p <share>", "draw from the likeliest tokens of this much probability together", share)
    .option(
      "--min-p <share>",
      "draw from tokens of at least this share of the likeliest's probability",
      share,
    )
    .option("--repetition-penalty <number>", "scores of tokens already there are divided by this", positive)
    .option(
      "--seed <number>",
      "draw tokens with this seed; default where tokens are drawn: a new one, which is printed",
      whole(0),
    )
    .option("--no-think", "ask for the answer without a thought before it")
    .addOption(weightsOption())
    .option("--json", "one JSON object")
    .action(async (prompt: string, options: GenerateCliOptions) => {
      const path = await findModel(options.model);
      const { weights, lora } = options;
      await withDevice(async ({ gpu }) => {
        const { model, ...loading } = await timeLoading(gpu, (onProgress) =>
          loadGenerator(gpu, path, { weights, lora, onProgress }),
        );
        warnOf(model.warnings);
        await answer(model, prompt, options, loading);
      });
    });
}

async function answer(
  generator: Generator,
  prompt: string,
  options: GenerateCliOptions,
  loading: Loading,
): Promise<void> {
  const sampling = samplingOptions(options);
  if (generator.chat.fallback !== undefined) note(`ChatML is used: ${generator.chat.fallback}`);
  if (sampling.seed !== undefined) note(`seed: ${sampling.seed}`);
  const streaming = process.stdout.isTTY && !options.json;
  const result = await generator.generate({
    prompt,
    system: options.system,
    ...(options.think ? {} : { thinking: false }),
    maxNewTokens: options.maxTokens,
    sampling,
    onText: streaming ? (text) => printPart(text) : undefined,
  });
  const seconds = { load: loading.seconds, ...result.seconds };
  const gpuBytes = { weights: loading.weightBytes, reserved: generator.gpu.bytes.reserved };
  if (options.json) printJson({ prompt, ...result, seconds, gpuBytes, seed: sampling.seed });
  else print(streaming ? "" : result.text);
  summarise(result);
}

/** The options, with a seed where tokens are drawn. */
function samplingOptions(options: GenerateCliOptions): SamplingOptions {
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = options;
  const sampling = { temperature, topK, topP, minP, repetitionPenalty, seed };
  const fresh = (): number => crypto.getRandomValues(new Uint32Array(1))[0];
  return { ...sampling, seed: isSampled(sampling) ? (seed ?? fresh()) : undefined };
}

function summarise({ text, finish, tokenIds, seconds }: Generation): void {
  if (text.trim() === "")
    note("the model gave no text; a checkpoint of speech recognition may not have learned to answer text");
  const rate = tokenIds.length > 1 ? `, ${((tokenIds.length - 1) / seconds.decode).toFixed(1)} a second` : "";
  const cut = finish === "length" ? "; cut: --max-tokens allows more" : "";
  note(`${tokenIds.length} tokens${rate}${cut}`);
}
