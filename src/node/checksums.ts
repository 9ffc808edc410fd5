import { createHash } from "node:crypto";
import { lstat, stat } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../formats/errors.js";
import { type ByteSource, readUtf8 } from "../checkpoint/source.js";

/**
 * Name of the list with the SHA-256 of each file beside it, in the form that `sha256sum --check`
 * reads. Lists of other names, which people put beside their models, are not read: they may name
 * what was not downloaded.
 */
export const CHECKSUMS = "funasr-webgpu.sha256";

const maxListBytes = 1_000_000;
const pieceBytes = 1 << 24;
const advice = `it was changed or damaged since it was written: write the directory again, as with train --export, or remove ${CHECKSUMS} to use it as it is`;

/** A file to write, piece by piece. */
interface Output {
  readonly name: string;
  readonly pieces: () => AsyncIterable<Uint8Array>;
}

/** The files and then their list, for a writer that writes one after another. */
export function withChecksums(files: readonly Output[]): Output[] {
  const lines = new Map<string, string>();
  async function* hashed({ name, pieces }: Output): AsyncGenerator<Uint8Array, void, undefined> {
    const hash = createHash("sha256");
    for await (const piece of pieces()) {
      hash.update(piece);
      yield piece;
    }
    lines.set(name, `${hash.digest("hex")}  ${name}\n`);
  }
  async function* list(): AsyncGenerator<Uint8Array, void, undefined> {
    yield await Promise.resolve(new TextEncoder().encode([...lines.values()].join("")));
  }
  const outputs = files.map((file): Output => ({ name: file.name, pieces: () => hashed(file) }));
  return [...outputs, { name: CHECKSUMS, pieces: list }];
}

/**
 * Files that were checked, by path: their size and time of change then. A command opens a file more
 * than once.
 */
const checked = new Map<string, string>();

/**
 * The list of a directory, read when its first file is opened; a directory without a list has no
 * file to check.
 */
export class Checksums {
  #lines: Promise<ReadonlyMap<string, string>> | undefined;

  /** @param open  opens a file of the directory, unchecked */
  constructor(
    private readonly path: string,
    private readonly open: (file: string) => Promise<ByteSource>,
  ) {}

  /**
   * @throws CheckpointError  another SHA-256 than the list's; a list that is damaged, or that names
   *   a file that is not there
   */
  async check(file: string, source: ByteSource): Promise<void> {
    const expected = (await (this.#lines ??= this.#read())).get(file);
    if (expected === undefined) return;
    const { size, mtimeMs, ino } = await stat(source.name);
    const state = [size, mtimeMs, ino, expected].join();
    if (checked.get(source.name) === state) return;
    const got = await sha256(source);
    if (got !== expected)
      throw new CheckpointError({
        file: source.name,
        field: "SHA-256",
        expected: `${short(expected)} as in ${CHECKSUMS}`,
        got: short(got),
        advice,
      });
    checked.set(source.name, state);
  }

  async #read(): Promise<ReadonlyMap<string, string>> {
    const lines = new Map<string, string>();
    const there = await lstat(join(this.path, CHECKSUMS)).catch(() => undefined);
    if (!there) return lines;
    const text = await readUtf8(await this.open(CHECKSUMS), maxListBytes);
    const refuse = (field: string, expected: string, got: string): never => {
      throw new CheckpointError({ file: join(this.path, CHECKSUMS), field, expected, got, advice });
    };
    if (!text.endsWith("\n")) refuse("end", "an end of line", "none");
    for (const [i, line] of text.split("\n").slice(0, -1).entries()) {
      const [, hash, file] = /^([0-9a-f]{64}) [ *]([^/\\]+)$/.exec(line) ?? [];
      if (hash === undefined) return refuse(`line ${i + 1}`, "a SHA-256 and a file's name", "another text");
      lines.set(file, hash);
    }
    for (const file of lines.keys())
      if (!(await isFile(join(this.path, file)))) return refuse(JSON.stringify(file), "a file", "none");
    return lines;
  }
}

async function sha256(source: ByteSource): Promise<string> {
  const hash = createHash("sha256");
  for (let at = 0; at < source.size; at += pieceBytes)
    hash.update(await source.read(at, Math.min(pieceBytes, source.size - at)));
  return hash.digest("hex");
}

const short = (hash: string): string => `${hash.slice(0, 12)}…`;

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
