import { Command, Option } from "commander";
import { CorpusDirectory } from "../../corpus/directory.js";
import { corpusError } from "../../corpus/errors.js";
import type { Filters } from "../../corpus/merge/lines.js";
import { mergeCorpus } from "../../corpus/merge/merge.js";
import { type OutputTally, writeOutput } from "../../corpus/merge/outputs.js";
import { count } from "../../report/text.js";
import type { Language } from "../../tokenizer/languages.js";
import { languageOption } from "../language.js";
import { checkOutput } from "../../node/output-place.js";
import { number } from "../numbers.js";
import { note, print, printJson, report, setOutput, shown } from "../output.js";
import { refuseIdle } from "../usage.js";
import { directoryForm, filesOf } from "./directory.js";

interface MergeCliOptions extends Omit<Filters, "language"> {
  readonly out: string;
  readonly to: "jsonl" | "train" | "funasr" | "webdataset";
  readonly audio?: string;
  readonly partial?: boolean;
  readonly language?: Language;
  readonly json?: boolean;
}

const rate = number("words a second from 0", (value) => value >= 0);

export function mergeCommand(): Command {
  return new Command("merge")
    .description("write the results of all shards in the order of the corpus")
    .argument("<directory>", directoryForm)
    .requiredOption("--out <path>", "file to write; webdataset: a new directory")
    .addOption(
      new Option(
        "--to <form>",
        "jsonl: all results; utterances for training, long ones by segments: train (JSONL that train and evaluate read), funasr (JSONL of FunASR's trainer), webdataset (tars)",
      )
        .choices(["jsonl", "train", "funasr", "webdataset"])
        .default("jsonl"),
    )
    .option(
      "--audio <directory>",
      "train, funasr: where audio is written that is no file by itself: parts for FunASR, members of tars",
    )
    .option(
      "--min-agreement <share>",
      "leave out texts that the CTC head's own text agrees with less",
      number("a share from 0 to 1", (value) => value >= 0 && value <= 1),
    )
    .option("--min-rate <number>", "leave out texts with fewer words a second", rate)
    .option(
      "--max-rate <number>",
      "leave out texts with more words a second; a Chinese character is a word",
      rate,
    )
    .addOption(languageOption("leave out texts in the script of another language"))
    .option("--partial", "leave out shards that are not done, instead of an error")
    .option("--json", "one JSON object")
    .action(async (path: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<MergeCliOptions>();
      setOutput(options);
      refuseIdle(command, [
        { options: ["audio"], met: ["train", "funasr"].includes(options.to), needs: "--to train or funasr" },
      ]);
      await merge(path, options);
    });
}

async function merge(path: string, options: MergeCliOptions): Promise<void> {
  const { out, to, audio, partial = false, json } = options;
  const directory = await CorpusDirectory.open(path);
  if (to !== "webdataset") await checkOutput(out, { inputs: await filesOf(directory, out) });
  const { minAgreement, minRate, maxRate, language } = options;
  const filters: Filters = {
    ...(minAgreement !== undefined && { minAgreement }),
    ...(minRate !== undefined && { minRate }),
    ...(maxRate !== undefined && { maxRate }),
    ...(language !== undefined && { language }),
  };
  const onMissing = (shard: number, why: string): void => {
    if (partial) note(`left out: shard ${shard}: ${why}`);
  };
  const common = { out, partial, filters, onMissing };
  if (to === "jsonl") {
    const { records, dropped } = await mergeCorpus(directory, common);
    if (json) printJson({ out, records, dropped });
    else print(`${shown(out)}: ${count(records)} utterances${droppedText(dropped)}`);
    return;
  }
  const tally = await writeOutput(directory, {
    ...common,
    to,
    ...(audio !== undefined && { audio }),
    onFault: (line, why) => note(`left out: ${line}: ${why}`),
  });
  if (json) printJson({ out, ...tally });
  else {
    const hours = (tally.seconds / 3600).toFixed(2);
    print(`${shown(out)}: ${count(tally.lines)} utterances, ${hours} h${droppedText(tally.dropped)}`);
  }
  if (tally.lines === 0) report(corpusError(out, "utterances", "one at least for training", "none"), false);
  if (tally.dropped.audio !== undefined && audio === undefined && to !== "webdataset")
    note(
      `${count(tally.dropped.audio)} were left out because their audio is no file by itself; --audio DIRECTORY writes it`,
    );
}

function droppedText(dropped: OutputTally["dropped"]): string {
  const reasons = Object.entries(dropped).sort(([a], [b]) => (a < b ? -1 : 1));
  return reasons.length === 0
    ? ""
    : `; left out: ${reasons.map(([why, n]) => `${count(n)} ${why}`).join(", ")}`;
}
