import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

export const binary = fileURLToPath(new URL("../../bin/funasr-webgpu.js", import.meta.url));

export interface Run {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the built command line with these arguments to its own end, or for `timeout` milliseconds at
 * most.
 */
export function cli(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  options: { readonly timeout?: number } = {},
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [binary, ...args], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      ...options,
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** stdout's lines as JSON. */
export function jsonLines({ stdout }: Run): Record<string, unknown>[] {
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Lines that report an error. */
export function errorLines({ stderr }: Run): string[] {
  return stderr.split("\n").filter((line) => line.startsWith("error:"));
}

/** A run that failed with one line, no stack and nothing on stdout; gives the line. */
export function expectRefusal(run: Run): string {
  const lines = errorLines(run);
  expect({ code: run.code, signal: run.signal, stdout: run.stdout, errors: lines.length }).toEqual({
    code: 1,
    signal: null,
    stdout: "",
    errors: 1,
  });
  expect(run.stderr).not.toMatch(/^\s+at .*\.js:/m);
  expect(lines[0]).not.toMatch(/unexpected:/);
  return lines[0];
}
