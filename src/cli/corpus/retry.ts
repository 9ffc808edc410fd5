import { Command, InvalidArgumentError } from "commander";
import { CorpusDirectory } from "../../corpus/directory.js";
import { FAILURE_KINDS, type FailureKind } from "../../corpus/item.js";
import { retryCorpus } from "../../corpus/retry.js";
import { count } from "../../report/text.js";
import { print, printJson, setOutput, shown } from "../output.js";
import { directoryForm } from "./directory.js";

interface RetryCliOptions {
  readonly shards?: readonly number[];
  readonly kinds?: readonly FailureKind[];
  readonly json?: boolean;
}

export function retryCommand(): Command {
  return new Command("retry")
    .description(
      "let shards be done again that failed, whose result was changed, or that have utterances without text",
    )
    .argument("<directory>", directoryForm)
    .option("--shards <numbers>", "these shards alone, such as 0,7,8", shardList)
    .option("--kinds <kinds>", `failures that count: ${FAILURE_KINDS.join(", ")}; default: all`, kindList)
    .option("--json", "one JSON object")
    .action(async (path: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<RetryCliOptions>();
      setOutput(options);
      const shards = await retryCorpus(await CorpusDirectory.open(path), options);
      if (options.json) printJson({ directory: path, shards });
      else print(`${shown(path)}: ${count(shards.length)} shards are open again`);
    });
}

function shardList(text: string): number[] {
  if (!/^\d+(?:,\d+)*$/.test(text))
    throw new InvalidArgumentError("Expected numbers of shards, such as 0,7,8.");
  return text.split(",").map(Number);
}

function kindList(text: string): FailureKind[] {
  const kinds = text.split(",");
  const known = kinds.every((kind): kind is FailureKind => FAILURE_KINDS.some((each) => each === kind));
  if (!known) throw new InvalidArgumentError(`Expected some of ${FAILURE_KINDS.join(", ")}.`);
  return kinds;
}
