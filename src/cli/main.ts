import { Command, CommanderError } from "commander";
import { oneLine } from "../errors.js";
import { onLeftover } from "../node/unfinished.js";
import { exitCode, note, report, setOutput } from "./output.js";
import { handleSignals } from "./signals.js";
import { isolateUnknownCommand } from "./unknown-command.js";
import { version } from "./version.js";

/**
 * The commands in the order of the general help. A command's modules are loaded when it runs,
 * because loading is most of a short run.
 */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  transcribe: async () => (await import("./transcribe.js")).transcribeCommand(),
  translate: async () => (await import("./translate.js")).translateCommand(),
  listen: async () => (await import("./listen/listen.js")).listenCommand(),
  serve: async () => (await import("./serve.js")).serveCommand(),
  corpus: async () => (await import("./corpus/corpus.js")).corpusCommand(),
  vad: async () => (await import("./vad.js")).vadCommand(),
  evaluate: async () => (await import("./evaluate/evaluate.js")).evaluateCommand(),
  generate: async () => (await import("./generate.js")).generateCommand(),
  train: async () => (await import("./train/train.js")).trainCommand(),
  verify: async () => (await import("./verify.js")).verifyCommand(),
  inspect: async () => (await import("./inspect.js")).inspectCommand(),
  convert: async () => (await import("./convert.js")).convertCommand(),
  migrate: async () => (await import("./migrate.js")).migrateCommand(),
  data: async () => (await import("./data.js")).dataCommand(),
  profile: async () => (await import("./profile.js")).profileCommand(),
  bench: async () => (await import("./bench.js")).benchCommand(),
  devices: async () => (await import("./devices.js")).devicesCommand(),
};

const program = new Command("funasr-webgpu")
  .description("Fun-ASR-Nano speech recognition on WebGPU, proved layer by layer against PyTorch")
  .version(version)
  .option("--debug", "print stacks with errors")
  .option("--quiet", "print only errors on stderr, no notes and no bars")
  .configureHelp({ showGlobalOptions: true })
  .exitOverride()
  .hook("preAction", (_, command) => setOutput(command.optsWithGlobals()));

const args = process.argv.slice(2);
const named = args.find((arg) => !arg.startsWith("-")) ?? "";
for (const [name, load] of Object.entries(commands))
  if (name === named || !Object.hasOwn(commands, named)) program.addCommand(await load());
const within = (command: Command): Command[] => command.commands.flatMap((one) => [one, ...within(one)]);
for (const command of [program, ...within(program)])
  command.configureOutput({
    outputError: (text, write) => write(`${oneLine(text.trimEnd().replace(/\n(?=\(Did you mean)/, " "))}\n`),
  });
program.showHelpAfterError("usage: funasr-webgpu <command> ...; --help lists the commands");
for (const command of within(program)) {
  const path = command.parent === program ? command.name() : `${command.parent!.name()} ${command.name()}`;
  const usage = `${program.name()} ${path} ${command.usage()}`;
  command.exitOverride().showHelpAfterError(`usage: ${usage}; --help explains the options`);
  command.configureHelp({ showGlobalOptions: true });
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // on EPIPE the reader, such as head, has seen enough
  if (error.code !== "EPIPE") report(error, program.opts<{ debug?: boolean }>().debug === true, "stdout");
  process.exit(process.exitCode ?? exitCode.done);
});

handleSignals();
onLeftover(note);

try {
  await program.parseAsync(isolateUnknownCommand(program, args), { from: "user" });
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCode.done : exitCode.wrongUsage;
  } else {
    report(error, program.opts<{ debug?: boolean }>().debug === true);
  }
}
