import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { demoModel } from "../../src/node/demo.js";
import { binary } from "./cli.js";

/** A `serve` that listens. */
export interface Serving {
  /** http://127.0.0.1:PORT */
  readonly address: string;
  readonly child: ChildProcess;
  /** What it printed on stderr so far. */
  readonly notes: () => string;
  /** Sends a signal and waits for the end. @returns the exit code */
  readonly end: (signal?: NodeJS.Signals) => Promise<number | null>;
}

/** Runs the built `serve` on a free port until it is ready. */
export async function serve(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Serving> {
  const child = spawn(process.execPath, [binary, "serve", "--port", "0", ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  const address = await new Promise<string>((resolve, reject) => {
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      const found = /listening on (\S+) with model/.exec(stdout);
      if (found) resolve(found[1]);
    });
    void closed.then((code) => reject(new Error(`serve ended with ${code}: ${stderr}`)));
  });
  return {
    address,
    child,
    notes: () => stderr,
    end: (signal = "SIGTERM") => {
      child.kill(signal);
      return closed;
    },
  };
}

/** A clip of the demo as a file to send. */
export function demoClip(name = "en-seen-1.wav"): File {
  return new File([readFileSync(join(demoModel, "clips", name))], name, { type: "audio/wav" });
}

/** A form with a file and these fields. */
export function form(fields: Readonly<Record<string, string | readonly string[]>>, file?: File): FormData {
  const data = new FormData();
  for (const [name, values] of Object.entries(fields))
    for (const value of typeof values === "string" ? [values] : values) data.append(name, value);
  if (file) data.append("file", file);
  return data;
}
