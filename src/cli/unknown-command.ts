import type { Command } from "commander";

/**
 * The arguments as commander must see them: an unknown command stands alone. Commander prints the
 * general help, as a success, where a help option follows a command that it does not know, or where
 * `help` precedes one.
 * @param args  without node and script
 */
export function isolateUnknownCommand(program: Command, args: readonly string[]): readonly string[] {
  const words = args.filter((arg) => !arg.startsWith("-"));
  const name = words[0] === "help" ? words[1] : words[0];
  const known = name === undefined || name === "help" || program.commands.some((c) => c.name() === name);
  return known ? args : [name];
}
