import { basename } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import type { WeightFormat } from "../gpu/matrix.js";
import { FunasrError } from "../errors.js";
import { demoModel, vadModel } from "../node/demo.js";
import { describeSystem } from "../node/system-error.js";
import type { EngineClient } from "../server/engine/client.js";
import { type ServerSettings, SERVER_DEFAULTS, isLoopback } from "../server/settings.js";
import { findModel, loraOption, modelForms, warnOf, weightsOption } from "./model.js";
import { number, natural, positive, whole } from "./numbers.js";
import { exitCode, note, print, printJson, setOutput } from "./output.js";
import { firstSignal } from "./signals.js";
import { vadOption } from "./vad-model.js";

const keyVariable = "FUNASR_WEBGPU_API_KEY";

interface ServeCliOptions {
  readonly model: string;
  readonly name?: string;
  readonly lora?: readonly string[];
  readonly weights?: WeightFormat;
  readonly vad: string;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
  readonly insecure?: boolean;
  readonly cors?: readonly string[];
  readonly maxUpload: number;
  readonly maxSeconds: number;
  readonly concurrency: number;
  readonly queue: number;
  readonly timeout: number;
  readonly rateLimit: number;
  readonly sessions: number;
  readonly stall: number;
  readonly drain: number;
  readonly watchdog: number;
  readonly json?: boolean;
}

/** Collects the values of an option that may be repeated. */
function collect(check: (text: string) => boolean, expected: string) {
  return (text: string, before: readonly string[] | undefined): string[] => {
    if (!check(text)) throw new InvalidArgumentError(`Expected ${expected}.`);
    return [...(before ?? []), text];
  };
}

const isKey = (text: string): boolean => /^[\x21-\x7e]+$/.test(text);
const isOrigin = (text: string): boolean =>
  text === "*" || (URL.canParse(text) && new URL(text).origin === text);

const upToADay = number("seconds from 0", (value) => value >= 0 && value <= 86_400);

/** Bounds of time; the others stand with the command. */
function timeOptions(command: Command): Command {
  return command
    .option(
      "--stall <seconds>",
      "a client that sends less than 4 kB of its upload, or reads nothing, for so long is cut off",
      number("seconds from 1", (value) => value >= 1 && value <= 86_400),
      SERVER_DEFAULTS.stallMs / 1000,
    )
    .option(
      "--drain <seconds>",
      "how long a stop waits for requests that run",
      upToADay,
      SERVER_DEFAULTS.drainMs / 1000,
    );
}

export function serveCommand(): Command {
  const { host, port, maxSeconds, jobs, waiting, rateLimit, sessions } = SERVER_DEFAULTS;
  const command = new Command("serve")
    .description("answer the speech APIs of OpenAI and FunASR over HTTP and WebSocket")
    .addOption(new Option("--model <model>", modelForms).default(demoModel, "the demo"))
    .option("--name <name>", "name of the model in requests; default: that of --model")
    .addOption(loraOption())
    .addOption(weightsOption())
    .addOption(vadOption())
    .option("--host <address>", "address to listen on; any but loopback needs a key, or --insecure", host)
    .option("--port <number>", "port to listen on; 0: any free one", whole(0, 65_535), port)
    .option(
      "--api-key <key>",
      `a key that requests need, as "Authorization: Bearer KEY"; may be repeated; default: those of ${keyVariable}, separated by commas`,
      collect(isKey, "letters, digits and marks without spaces"),
    )
    .option("--insecure", "listen on any address without a key")
    .option(
      "--cors <origin>",
      "origin whose web pages may use the server, such as https://example.org; may be repeated; *: all",
      collect(isOrigin, "an origin such as https://example.org, or *"),
    )
    .option("--max-upload <MiB>", "largest upload", positive, SERVER_DEFAULTS.maxUploadBytes / 2 ** 20)
    .option("--max-seconds <seconds>", "longest recording", positive, maxSeconds)
    .option("--concurrency <count>", "recordings whose files are read at once", natural, jobs)
    .option("--queue <count>", "recordings that wait beside them; more are refused", whole(0), waiting)
    .option(
      "--timeout <seconds>",
      "a request without a result by then fails",
      number("seconds above 0, up to 2000000", (value) => value > 0 && value <= 2_000_000),
      SERVER_DEFAULTS.timeoutMs / 1000,
    )
    .option(
      "--rate-limit <count>",
      "requests a minute of a key or address; 0: any number",
      whole(0),
      rateLimit,
    )
    .option("--sessions <count>", "WebSocket sessions at once", whole(0), sessions)
    .option(
      "--watchdog <seconds>",
      "an engine that has work and gets nothing done for so long is started again; 0: never",
      upToADay,
      300,
    )
    .option("--json", "the address as a JSON object");
  return timeOptions(command).action(async (_: unknown, called: Command) => {
    const options = called.optsWithGlobals<ServeCliOptions>();
    setOutput(options);
    await serve(options, settingsOf(options, called));
  });
}

function settingsOf(options: ServeCliOptions, command: Command): ServerSettings {
  const fromEnvironment = (process.env[keyVariable] ?? "").split(",").filter((key) => key !== "");
  const apiKeys = options.apiKey ?? fromEnvironment;
  const wrong = (message: string): never =>
    command.error(`error: ${message}`, { exitCode: exitCode.wrongUsage });
  if (!apiKeys.every(isKey)) wrong(`${keyVariable}: expected keys without spaces, separated by commas`);
  if (!isLoopback(options.host) && apiKeys.length === 0 && !options.insecure)
    wrong(`--host ${options.host} can be reached from other machines: it needs --api-key, or --insecure`);
  return {
    host: options.host,
    port: options.port,
    model: options.name ?? modelName(options.model),
    apiKeys,
    origins: options.cors ?? [],
    maxUploadBytes: Math.floor(options.maxUpload * 2 ** 20),
    maxSeconds: options.maxSeconds,
    jobs: options.concurrency,
    waiting: options.queue,
    timeoutMs: options.timeout * 1000,
    rateLimit: options.rateLimit,
    sessions: options.sessions,
    stallMs: options.stall * 1000,
    drainMs: options.drain * 1000,
  };
}

/** OWNER/NAME of the hub, or the last part of a path. */
function modelName(model: string): string {
  if (model === demoModel) return "demo";
  return /^[\w.-]+\/[\w.-]+@?[\w.-]*$/.test(model) ? model.split("@")[0] : basename(model);
}

async function serve(options: ServeCliOptions, settings: ServerSettings): Promise<void> {
  const model = await findModel(options.model);
  const vad = options.vad === vadModel ? vadModel : await findModel(options.vad);
  const { lora, weights, concurrency: jobs } = options;
  const { EngineClient } = await import("../server/engine/client.js");
  const { startServer } = await import("../server/server.js");
  const engine = new EngineClient({
    settings: { model, vad, jobs, ...(lora && { lora }), ...(weights && { weights }) },
    onNote: note,
    ...(options.watchdog > 0 && { hangMs: options.watchdog * 1000 }),
  });
  const server = await startServer(engine, settings).catch((error: unknown) => {
    throw listenError(error, settings);
  });
  const stopped = firstSignal(
    "stopping: requests that run are finished; a second signal ends the run at once",
  );
  try {
    const ready = engine.start();
    await Promise.race([ready, stopped]);
    if (engine.state === "ready") announce(engine, server.address, settings, options.json === true);
    ready.catch(() => undefined); // stopped while it loaded
    process.exitCode = await stopped;
    if (!(await server.stop())) note(`requests that ran longer than ${options.drain} s were ended`);
  } finally {
    await server.stop();
    await engine.stop();
  }
}

function announce(
  engine: EngineClient,
  address: string,
  { model, apiKeys, host }: ServerSettings,
  json: boolean,
): void {
  const { device, warnings } = engine.about!;
  warnOf(warnings);
  note(`device: ${device}`);
  if (apiKeys.length === 0 && !isLoopback(host))
    note("warning: anybody who reaches this address can use the server");
  if (json) printJson({ address, model, device });
  else print(`listening on ${address} with model ${model}`);
}

const refusedAddresses: Readonly<Record<string, string>> = {
  EADDRINUSE: "one in use; name another with --port",
  EADDRNOTAVAIL: "one that this machine does not have; name one of its own with --host",
  ENOTFOUND: "a name that leads to no address; name another with --host",
  EAI_AGAIN: "a name that leads to no address now; name another with --host",
  EACCES: "one that needs more rights; name a --port above 1023",
};

/** The system's refusal to listen, in the form of this package's errors. */
function listenError(error: unknown, { host, port }: ServerSettings): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (!(error instanceof Error) || syscall === undefined) return error;
  const got = refusedAddresses[code ?? ""] ?? describeSystem(error);
  return new FunasrError(`${host}:${port}: expected a free address, got ${got}`);
}
