import type { Command } from "commander";
import { exitCode } from "./output.js";

/** Options that have an effect only under a condition. */
export interface Condition {
  /** Names as commander gives them: `loraRank`. */
  readonly options: readonly string[];
  readonly met: boolean;
  /** The condition in the words of a message, such as "--tune lora". */
  readonly needs: string;
}

/** Ends with wrong usage if an option that was given has no effect. */
export function refuseIdle(command: Command, conditions: readonly Condition[]): void {
  for (const { options, met, needs } of conditions) {
    const given = met ? undefined : options.find((name) => command.getOptionValueSource(name) === "cli");
    if (given === undefined) continue;
    const { long } = command.options.find((option) => option.attributeName() === given)!;
    command.error(`error: option '${long}' has an effect only with ${needs}`, {
      exitCode: exitCode.wrongUsage,
    });
  }
}
