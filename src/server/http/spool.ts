import { createWriteStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { inWork, removeLeftovers, unfinishedName } from "../../node/unfinished.js";

/**
 * A directory of this process for uploads, which nobody else can read. The name says whose it is:
 * what a killed server left is removed by the next one.
 */
export class Spool {
  #count = 0;
  /** Files that are there now. */
  #files = 0;

  private constructor(
    readonly directory: string,
    private readonly keep: () => void,
  ) {}

  static async open(): Promise<Spool> {
    const place = join(tmpdir(), "funasr-webgpu-uploads");
    await removeLeftovers(place);
    const directory = await unfinishedName(place);
    await mkdir(directory, { mode: 0o700 });
    return new Spool(directory, inWork(directory));
  }

  get files(): number {
    return this.#files;
  }

  /**
   * Writes a stream to a file that only this user can read.
   * @returns its path, and how to remove it
   * @throws  what the stream or the disk reports; the file is gone then
   */
  async write(stream: Readable): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
    const path = join(this.directory, String(++this.#count));
    this.#files++;
    let removed: Promise<void> | undefined;
    const remove = (): Promise<void> =>
      (removed ??= rm(path, { force: true }).finally(() => {
        this.#files--;
      }));
    try {
      await pipeline(stream, createWriteStream(path, { flags: "wx", mode: 0o600 }));
      return { path, remove };
    } catch (error) {
      await remove();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.keep();
    await rm(this.directory, { recursive: true, force: true });
  }
}
