import { readdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { FileError } from "../../errors.js";
import type { Item, ResultRecord } from "../item.js";

/** This machine lacks a shard's audio: its disk is not mounted, or not shared. */
export class AudioOutOfReach extends FileError {}

/**
 * A shard without any of its audio, where the directories of the audio are gone or empty too, says
 * more of this machine than of the files.
 * @throws AudioOutOfReach
 */
export async function checkReach(
  shard: number,
  items: readonly Item[],
  records: readonly ResultRecord[],
): Promise<void> {
  if (!records.every(({ error }) => error?.kind === "missing")) return;
  const directories = new Set(items.map(({ audio }) => dirname(audio)));
  for (const directory of directories) if (await hasFiles(directory)) return;
  const [first] = directories;
  throw new AudioOutOfReach({
    file: first,
    field: `audio of shard ${shard}`,
    expected: `its ${items.length === 1 ? "file" : `${items.length} files`} on this machine`,
    got: "no files in that directory, or no directory",
    advice: "mount the disk, or record them as missing with --accept-missing",
  });
}

async function hasFiles(directory: string): Promise<boolean> {
  if (!(await stat(directory).catch(() => undefined))?.isDirectory()) return false;
  return (await readdir(directory).catch(() => [])).length > 0;
}
