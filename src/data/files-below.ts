import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";

/**
 * Files of a directory and those below it, in the order of their names, with their paths from it.
 * Links to directories are followed; a directory is walked once, so links that lead back end.
 */
export async function* filesBelow(
  directory: string,
  below = "",
  walked = new Set<string>(),
): AsyncGenerator<string, void, undefined> {
  const here = join(directory, below);
  const real = await realpath(here);
  if (walked.has(real)) return;
  walked.add(real);
  const entries = await readdir(here, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const name = join(below, entry.name);
    const isLink = entry.isSymbolicLink();
    const found = isLink ? await stat(join(directory, name)).catch(() => undefined) : entry;
    if (found?.isDirectory()) yield* filesBelow(directory, name, walked);
    else yield name;
  }
}

/** The names of filesBelow with an ending, sorted as texts. */
export async function namesBelow(directory: string, ending: string): Promise<string[]> {
  const found: string[] = [];
  for await (const name of filesBelow(directory)) if (name.endsWith(ending)) found.push(name);
  return found.sort();
}
