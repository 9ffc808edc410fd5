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
    .description("answer a prompt with the language model alone, greedily unless an option asks for samples")
    .argument("<prompt>", "what to answer")
    .addOption(
      new Option(
        "--model <path>",
        "Qwen3 directory or GGUF file; Fun-ASR checkpoint or ENCODER.gguf,LLM.gguf, of which the LLM is used; or OWNER/NAME[@REVISION] on the hub",
      ).default(demoModel, "the demo"),
    )
    .addOption(loraOption())
    .option("--system <text>", "instructions to the model, before the prompt")
    .option(
      "--max-tokens <count>",
      "most new tokens; default: 512, or as many as the context leaves",
      natural,
    )
    .option("--temperature <number>", "sample, with the scores divided by this", positive)
    .option("--top-k <count>", "sample from the k likeliest tokens", whole(0))
    .option("--top-p <share>", "sample from the likeliest tokens that together have this probability", share)
    .option(
      "--min-p <share>",
      "sample from tokens with at least this share of the highest probability",
      share,
    )
    .option(
      "--repetition-penalty <number>",
      "divide the scores of tokens already in the text by this",
      positive,
    )
    .option("--seed <number>", "seed of the samples; default: a new one, which is printed", whole(0))
    .option("--no-think", "ask for an answer without a thought before it")
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

/** The options, with a seed where tokens are sampled. */
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
