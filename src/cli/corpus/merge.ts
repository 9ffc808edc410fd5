import { Command } from "commander";
import { CorpusDirectory } from "../../corpus/directory.js";
import { mergeCorpus } from "../../corpus/merge/merge.js";
import { count } from "../../report/text.js";
import { note, print, printJson, setOutput, shown } from "../output.js";
import { directoryForm } from "./directory.js";

interface MergeCliOptions {
  readonly out: string;
  readonly partial?: boolean;
  readonly json?: boolean;
}

export function mergeCommand(): Command {
  return new Command("merge")
    .description("write the results of all shards as one file, in the order of the corpus")
    .argument("<directory>", directoryForm)
    .requiredOption("--out <file>", "file to write")
    .option("--partial", "leave out shards that are not done, instead of an error")
    .option("--json", "one JSON object")
    .action(async (path: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<MergeCliOptions>();
      setOutput(options);
      const { out, partial = false } = options;
      const tally = await mergeCorpus(await CorpusDirectory.open(path), {
        out,
        partial,
        onMissing: (shard, why) => partial && note(`left out: shard ${shard}: ${why}`),
      });
      if (options.json) printJson({ out, ...tally });
      else print(`${shown(out)}: ${count(tally.records)} utterances`);
    });
}
