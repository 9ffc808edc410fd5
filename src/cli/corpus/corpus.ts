import { Command } from "commander";
import { mergeCommand } from "./merge.js";
import { planCommand } from "./plan.js";
import { queueCommand } from "./queue.js";
import { retryCommand } from "./retry.js";
import { statusCommand } from "./status.js";
import { workCommand } from "./work.js";

/** The command with its parts. */
export function corpusCommand(): Command {
  return new Command("corpus")
    .description("transcribe thousands of hours in shards, by any number of workers that may be killed")
    .addCommand(planCommand())
    .addCommand(workCommand())
    .addCommand(statusCommand())
    .addCommand(mergeCommand())
    .addCommand(retryCommand())
    .addCommand(queueCommand());
}
