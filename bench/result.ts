import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Writes a result as DIRECTORY/NAME.json, beside and renamed. @returns its path */
export function writeResult(name: string, result: object, directory = "bench/results"): string {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${name}.json`);
  writeFileSync(`${file}.part`, `${JSON.stringify(result, null, 1)}\n`);
  renameSync(`${file}.part`, file);
  return file;
}

/** The commit, with a mark where files differ from it. */
export function commitName(): string {
  const git = (...args: string[]): string => execFileSync("git", args, { encoding: "utf8" }).trim();
  return (
    git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "-uno") === "" ? "" : "-changed")
  );
}

/** The device's name as a part of a file's. */
export function deviceName({ device }: Pick<GPUAdapterInfo, "device">): string {
  return device.replaceAll(/[^a-z0-9]+/gi, "-").replaceAll(/^-|-$/g, "");
}
