import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.js";

const FIXTURES = new URL("../fixtures/funasr/", import.meta.url);

/** Path of a fixture that golden/fixtures/layouts.py made: nano, hf, mlx, odd/NAME.pt. */
export function layoutPath(name: string): string {
  return fileURLToPath(new URL(name, FIXTURES));
}

export function layoutBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(layoutPath(name)));
}

/**
 * A fixture directory in memory, files of its directories as DIRECTORY/FILE, for tests that damage
 * it.
 */
export function layoutFiles(name: string): Map<string, Uint8Array> {
  const files = readdirSync(layoutPath(name), { recursive: true, withFileTypes: true }).filter((e) =>
    e.isFile(),
  );
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(layoutPath(name).length + 1), new Uint8Array(readFileSync(path))];
    }),
  );
}

/** A whole tensor. */
export async function readWhole(checkpoint: Checkpoint, name: string): Promise<Uint8Array> {
  const entry = checkpoint.tensors.get(name)!;
  return checkpoint.read(entry, 0, entry.byteLength);
}
