import { Command, Option } from "commander";
import { demoModel } from "../node/demo.js";
import { audioForms } from "./audio-forms.js";
import { channelOption } from "./channel.js";
import { languageOption } from "./language.js";
import { baseOption, loraOption, modelForms, weightsOption } from "./model.js";
import { natural } from "./numbers.js";
import { penaltyOption, strictOption, transcribeFiles } from "./transcribe.js";
import { type TranscribeCliOptions, batchOption, longConditions, longOptions } from "./transcribe-options.js";
import { refuseIdle } from "./usage.js";

export function translateCommand(): Command {
  return longOptions(new Command("translate"))
    .description("translate the speech of each clip; the checkpoint must be trained for it")
    .argument("<audio...>", `clips: ${audioForms}`)
    .addOption(
      new Option("--to <code>", "language of the answer").choices(["en", "zh"]).makeOptionMandatory(),
    )
    .option("--cascade", "transcribe first, then have the same language model translate the text")
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .addOption(baseOption())
    .addOption(loraOption())
    .addOption(languageOption("spoken language, for a cascade's transcript"))
    .addOption(weightsOption())
    .addOption(batchOption())
    .option(
      "--max-tokens <count>",
      "most new tokens per clip; default: 32 and one per 60 ms of audio; for a cascade's translation 32 and three per token",
      natural,
    )
    .addOption(penaltyOption())
    .addOption(channelOption())
    .addOption(strictOption())
    .option("--json", "one JSON object per clip")
    .action(async (files: string[], _: unknown, command: Command) => {
      const options = command.optsWithGlobals<TranscribeCliOptions>();
      if (options.language !== undefined && !options.cascade)
        command.error("error: --language needs --cascade", { exitCode: 2 });
      refuseIdle(command, longConditions(options));
      await transcribeFiles(files, options);
    });
}
