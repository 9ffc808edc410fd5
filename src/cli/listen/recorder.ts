import { type ChildProcessByStdio, spawn } from "node:child_process";
import { access, constants, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { Readable } from "node:stream";
import { LiveInputError } from "./errors.js";

/** A program that writes the microphone's audio as PCM of 16 bits, 16 kHz, mono to stdout. */
export interface Recorder {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
}

const ffmpegArgs = ["-hide_banner", "-loglevel", "error", "-nostdin"];
const ffmpegOut = ["-ac", "1", "-ar", "16000", "-f", "s16le", "-"];
const arecordArgs = ["-q", "-t", "raw", "-f", "S16_LE", "-r", "16000", "-c", "1"];

function ffmpegInput(platform: NodeJS.Platform, device?: string): string[] {
  if (platform === "darwin") return ["-f", "avfoundation", "-i", `:${device ?? "default"}`];
  if (platform === "win32") return ["-f", "dshow", "-i", `audio=${device ?? "default"}`];
  return ["-f", "alsa", "-i", device ?? "default"];
}

/** How the recorders of a platform are called, the one to prefer first. */
function candidates(platform: NodeJS.Platform, device?: string): Omit<Recorder, "program">[] {
  const ffmpeg = { name: "ffmpeg", args: [...ffmpegArgs, ...ffmpegInput(platform, device), ...ffmpegOut] };
  if (platform !== "linux") return [ffmpeg];
  return [
    { name: "arecord", args: [...arecordArgs, ...(device === undefined ? [] : ["-D", device])] },
    ffmpeg,
  ];
}

/**
 * The first recorder that is in PATH.
 * @throws LiveInputError  none is; on Windows, no device is named
 */
export async function findRecorder(
  device?: string,
  platform = process.platform,
  path = process.env.PATH ?? "",
): Promise<Recorder> {
  const all = candidates(platform, device);
  for (const { name, args } of all) {
    const program = await inPath(name, platform, path);
    if (program === undefined) continue;
    if (platform !== "win32" || device !== undefined) return { name, program, args };
    throw new LiveInputError({
      file: "microphone",
      field: "--device",
      expected: "the name of a device",
      got: "none",
      advice: "`ffmpeg -list_devices true -f dshow -i dummy` lists them",
    });
  }
  const packages = platform === "linux" ? "alsa-utils (arecord) or ffmpeg" : "ffmpeg";
  throw new LiveInputError({
    file: "microphone",
    field: "recorder",
    expected: `${all.map(({ name }) => name).join(" or ")} in PATH`,
    got: all.length > 1 ? "neither" : "none",
    advice: `install ${packages}, or pipe PCM to \`listen -\``,
  });
}

async function inPath(name: string, platform: NodeJS.Platform, path: string): Promise<string | undefined> {
  const file = platform === "win32" ? `${name}.exe` : name;
  for (const directory of path.split(delimiter)) {
    const program = join(directory === "" ? "." : directory, file);
    const found = await stat(program).catch(() => undefined);
    if (found?.isFile() && (await canRun(program))) return program;
  }
  return undefined;
}

async function canRun(program: string): Promise<boolean> {
  return access(program, constants.X_OK).then(
    () => true,
    () => false,
  );
}

const patience = 2000; // ms from the signal to the kill
const lastWords = 500; // characters of a recorder's stderr

/** A recorder that runs. */
export class Recording {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #ended: Promise<string | undefined>;
  #stopped = false;
  #said = "";

  constructor(private readonly recorder: Recorder) {
    const child = spawn(recorder.program, recorder.args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    const kill = (): void => void child.kill("SIGKILL");
    process.once("exit", kill);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-lastWords);
    });
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => {
        process.off("exit", kill);
        resolve(code === 0 ? undefined : signal === null ? `exit code ${code}` : signal);
        // another program may hold the pipe open
        setTimeout(() => child.stdout.destroy(), 200).unref();
      });
    });
  }

  /** PCM in pieces, until the recorder ends. */
  async *pieces(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of this.#child.stdout) yield piece as Uint8Array;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
    }
  }

  /** Asks the recorder to end; what it has recorded is still read. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#child.kill("SIGTERM");
    setTimeout(() => this.#child.kill("SIGKILL"), patience).unref();
  }

  /**
   * Settles when the recorder has ended.
   * @throws LiveInputError  it ended by itself, and not with 0
   */
  async end(): Promise<void> {
    const problem = await this.#ended;
    if (problem === undefined || this.#stopped) return;
    const said =
      this.#said
        .trim()
        .split(/[\r\n]+/)
        .at(-1) ?? "";
    const { name } = this.recorder;
    throw new LiveInputError({
      file: "microphone",
      field: name,
      expected: "audio until Ctrl-C",
      got: said === "" ? problem : `${problem} (${said})`,
      advice: "--device names another microphone",
    });
  }
}
