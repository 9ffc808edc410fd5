import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FIXTURES = new URL("../fixtures/lora/", import.meta.url);

/** One file that golden/fixtures/lora.py made. */
export function loraFixtureFile(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(name, FIXTURES)));
}

/** The files of one directory that golden/fixtures/lora.py made. */
export function loraFixture(name: string): Map<string, Uint8Array> {
  const files = readdirSync(new URL(`${name}/`, FIXTURES));
  return new Map(files.map((file) => [file, loraFixtureFile(`${name}/${file}`)]));
}

/** Path of such a directory. */
export function loraFixturePath(name: string): string {
  return fileURLToPath(new URL(`${name}/`, FIXTURES)).replace(/[/\\]$/, "");
}
