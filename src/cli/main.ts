import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { benchCommand } from "./bench.js";
import { convertCommand } from "./convert.js";
import { dataCommand } from "./data.js";
import { devicesCommand } from "./devices.js";
import { evaluateCommand } from "./evaluate/evaluate.js";
import { generateCommand } from "./generate.js";
import { inspectCommand } from "./inspect.js";
import { migrateCommand } from "./migrate.js";
import { oneLine } from "../errors.js";
import { onLeftover } from "../node/unfinished.js";
import { exitCode, note, report, setOutput } from "./output.js";
import { profileCommand } from "./profile.js";
import { handleSignals } from "./signals.js";
import { trainCommand } from "./train/train.js";
import { transcribeCommand } from "./transcribe.js";
import { translateCommand } from "./translate.js";
import { isolateUnknownCommand } from "./unknown-command.js";
import { verifyCommand } from "./verify.js";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};

const program = new Command("funasr-webgpu")
  .description("Fun-ASR-Nano speech recognition on WebGPU, proved layer by layer against PyTorch")
  .version(manifest.version)
  .option("--debug", "print stacks with errors")
  .option("--quiet", "no notes and no bars on stderr; errors stay")
  .configureHelp({ showGlobalOptions: true })
  .exitOverride()
  .hook("preAction", (_, command) => setOutput(command.optsWithGlobals()))
  .addCommand(transcribeCommand())
  .addCommand(translateCommand())
  .addCommand(evaluateCommand())
  .addCommand(generateCommand())
  .addCommand(trainCommand())
  .addCommand(verifyCommand())
  .addCommand(inspectCommand())
  .addCommand(convertCommand())
  .addCommand(migrateCommand())
  .addCommand(dataCommand())
  .addCommand(profileCommand())
  .addCommand(benchCommand())
  .addCommand(devicesCommand());
for (const command of [program, ...program.commands])
  command.configureOutput({
    outputError: (text, write) => write(`${oneLine(text.trimEnd().replace(/\n(?=\(Did you mean)/, " "))}\n`),
  });
program.showHelpAfterError("usage: funasr-webgpu <command> ...; --help lists the commands");
for (const command of program.commands) {
  const usage = `${program.name()} ${command.name()} ${command.usage()}`;
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
  await program.parseAsync(isolateUnknownCommand(program, process.argv.slice(2)), { from: "user" });
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCode.done : exitCode.wrongUsage;
  } else {
    report(error, program.opts<{ debug?: boolean }>().debug === true);
  }
}
