import { Command } from "commander";
import { CorpusDirectory } from "../../corpus/directory.js";
import { count } from "../../report/text.js";
import { natural } from "../numbers.js";
import { note, print, printJson, setOutput } from "../output.js";
import { directoryForm } from "./directory.js";
import { redisUrl } from "./work.js";

interface QueueCliOptions {
  readonly queue: string;
  readonly pause?: boolean;
  readonly resume?: boolean;
  readonly first?: number;
  readonly json?: boolean;
}

export function queueCommand(): Command {
  return new Command("queue")
    .description("print what Redis has of a corpus: its queue, and the shards that were given up")
    .argument("<directory>", directoryForm)
    .requiredOption("--queue <url>", "Redis, such as redis://host:6379", redisUrl)
    .option("--pause", "workers take no new shard")
    .option("--resume", "they do again")
    .option("--first <count>", "so many of the last shards that wait are taken first", natural)
    .option("--json", "one JSON object")
    .action(async (path: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<QueueCliOptions>();
      setOutput(options);
      const { inspectQueue } = await import("../../corpus/workers/queue-control.js");
      const state = await inspectQueue(await CorpusDirectory.open(path), { ...options, onNote: note });
      if (options.json) {
        printJson({ ...state, failed: Object.fromEntries(state.failed) });
        return;
      }
      const counts = Object.entries(state.counts).map(([name, jobs]) => `${count(jobs)} ${name}`);
      print(`${state.name}: ${state.paused ? "paused; " : ""}${counts.join(", ")}`);
      for (const [shard, why] of state.failed) print(`shard ${shard} was given up: ${why}`);
    });
}
