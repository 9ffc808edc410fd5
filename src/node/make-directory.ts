import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { errorCode } from "../errors.js";
import { WriteError, naming } from "./write-error.js";

/**
 * Makes a directory and those above it, one by one. `mkdir` with `recursive` never ends where the
 * system answers ENOENT although the parent is there, as /proc does.
 * @param name  what errors call it
 * @throws WriteError  the system refused, or a file is there
 */
export async function makeDirectory(path: string, name = path): Promise<void> {
  await naming(name, () => makeMissing(path, name));
}

async function makeMissing(path: string, name: string): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); !(await isThere(at)); at = dirname(at)) missing.push(at);
  for (const directory of missing.reverse()) await makeOne(directory);
  if (missing.length === 0 && !(await stat(path)).isDirectory())
    throw new WriteError({
      file: name,
      field: "write",
      expected: "a directory",
      got: "a file",
      advice: "name another, or remove it first",
    });
}

/** Another process may make it meanwhile. */
async function makeOne(directory: string): Promise<void> {
  try {
    await mkdir(directory);
  } catch (error) {
    if (errorCode(error) !== "EEXIST" || !(await stat(directory)).isDirectory()) throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => {
      if (errorCode(error) === "ENOENT" && dirname(path) !== path) return false;
      throw error;
    },
  );
}
