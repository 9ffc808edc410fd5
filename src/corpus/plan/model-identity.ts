import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { checkpointFiles } from "../../hub/select.js";
import { HubError } from "../../hub/errors.js";
import { ggufPaths } from "../../node/model-files.js";

/**
 * SHA-256 of the files of a checkpoint, a LoRA or a voice activity net, with their names.
 * @param path  directory, or GGUF files
 * @throws the system's error: a file cannot be read
 */
export async function modelIdentity(path: string): Promise<string> {
  const whole = createHash("sha256");
  for (const [name, file] of await modelParts(path)) {
    const hash = createHash("sha256");
    for await (const piece of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>)
      hash.update(piece);
    whole.update(`${name} ${hash.digest("hex")}\n`);
  }
  return whole.digest("hex");
}

/** Files by their names: those of a checkpoint, or of a directory that holds none, all. */
async function modelParts(path: string): Promise<[name: string, file: string][]> {
  const gguf = ggufPaths(path);
  if (gguf) return gguf.map((file) => [basename(file), file]);
  if ((await stat(path)).isFile()) return [[basename(path), path]];
  const paths: string[] = [];
  for (const name of (await readdir(path)).sort()) {
    const found = await stat(join(path, name)).catch(() => undefined);
    if (found?.isFile()) paths.push(name);
    else if (found?.isDirectory() && /^Qwen3-/.test(name))
      for (const inner of await readdir(join(path, name))) paths.push(`${name}/${inner}`);
  }
  return select(paths, path).map((name) => [name, join(path, name)]);
}

function select(paths: readonly string[], path: string): string[] {
  try {
    return checkpointFiles(paths, path);
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    return paths.filter((name) => !/\.(md|txt)$/i.test(name)).sort();
  }
}
