import type { Stats } from "node:fs";
import { rm, stat, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { errorCode } from "../errors.js";
import { inWork, unfinishedName } from "./unfinished.js";
import { WriteError, naming } from "./write-error.js";

/**
 * Refuses an output that cannot be written, before the work begins.
 * @param options  force: a file of that name may be replaced (default); inputs: files that may not
 *                 be, in any case
 * @throws WriteError  its directory is missing or none, or takes no new file; a directory, a device
 *                     or a pipe, a file that may not be replaced
 */
export async function checkOutput(
  file: string,
  { force = true, inputs = [] }: { readonly force?: boolean; readonly inputs?: readonly string[] } = {},
): Promise<void> {
  const directory = dirname(resolve(file));
  const parent = await perhapsStat(directory);
  const refuse = (expected: string, got: string, advice: string): never => {
    throw new WriteError({ file, field: "write", expected, got, advice });
  };
  if (!parent) refuse("a directory to write it in", `no ${dirname(file)}`, "make it, or check the path");
  if (!parent?.isDirectory()) refuse("a directory to write it in", "a file", `check ${dirname(file)}`);
  const found = await perhapsStat(file);
  if (!found) {
    await tryToWrite(file);
    return;
  }
  if (found.isDirectory()) refuse("a name for a file", "a directory's", "name a file in it");
  if (!found.isFile()) refuse("the name of a file", "a device or a pipe", "name a file");
  const outIdentity = identity(found);
  for (const input of inputs) {
    if ((await fileIdentity(input)) === outIdentity)
      refuse("another file than is read", "the same", "name another");
  }
  if (!force) refuse("a new name", "a file that is there", "name another, or replace it with --force");
  await tryToWrite(file);
}

/** The same for all names of a file; undefined where none is. */
export async function fileIdentity(path: string): Promise<string | undefined> {
  const found = await perhapsStat(path);
  return found && identity(found);
}

function identity({ dev, ino }: Pick<Stats, "dev" | "ino">): string {
  return `${dev} ${ino}`;
}

/** Makes the unfinished file and removes it. @throws WriteError  the system refused it */
async function tryToWrite(file: string): Promise<void> {
  const unfinished = await unfinishedName(file);
  const done = inWork(unfinished);
  try {
    await naming(file, () => writeFile(unfinished, "", { flag: "wx" }));
  } finally {
    await rm(unfinished, { force: true }).catch(() => undefined);
    done();
  }
}

async function perhapsStat(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}
