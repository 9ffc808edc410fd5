import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { errorCode } from "../../errors.js";
import { reason } from "../../json.js";
import { inWork, removeLeftovers, unfinishedName } from "../../node/unfinished.js";

/** A file of the spool. */
export interface Spooled {
  readonly path: string;
  /** Removes the file; one that cannot be removed now is tried again later. Never rejects. */
  readonly remove: () => Promise<void>;
}

/**
 * A directory of this process for uploads, which nobody else can read. The name says whose it is:
 * what a killed server left is removed by the next one.
 */
export class Spool {
  #count = 0;
  /** Files that are written or read. */
  #used = 0;
  /** Files that could not be removed. */
  readonly #left = new Set<string>();

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

  /** Files that are there now. */
  get files(): number {
    return this.#used + this.#left.size;
  }

  /**
   * Writes a stream to a file that only this user can read.
   * @throws  what the stream or the disk reports; the file is gone then
   */
  async write(stream: Readable): Promise<Spooled> {
    const path = join(this.directory, String(++this.#count));
    this.#used++;
    let removed: Promise<void> | undefined;
    const remove = (): Promise<void> => (removed ??= this.#remove(path));
    try {
      const file = await this.#create(path);
      await pipeline(stream, file.createWriteStream());
      return { path, remove };
    } catch (error) {
      await remove();
      throw error;
    }
  }

  /** Makes the directory again where a cleaner of temporary files has removed it. */
  async #create(path: string): Promise<FileHandle> {
    const create = (): Promise<FileHandle> => open(path, "wx", 0o600);
    return create().catch(async (error: unknown) => {
      if (errorCode(error) !== "ENOENT") throw error;
      await mkdir(this.directory, { mode: 0o700, recursive: true });
      return create();
    });
  }

  async #remove(path: string): Promise<void> {
    const failure = await removal(path);
    this.#used--;
    if (failure !== undefined) {
      this.#left.add(path);
      report(path, failure);
      return;
    }
    for (const left of this.#left) {
      if ((await removal(left)) !== undefined) return;
      this.#left.delete(left);
    }
  }

  async close(): Promise<void> {
    this.keep();
    const failure = await removal(this.directory, true);
    if (failure !== undefined) report(this.directory, failure);
  }
}

/** Removes a file or a directory. @returns why it could not be removed */
async function removal(path: string, recursive = false): Promise<string | undefined> {
  try {
    await rm(path, { force: true, recursive });
    return undefined;
  } catch (error) {
    return errorCode(error) ?? reason(error);
  }
}

function report(path: string, failure: string): void {
  process.stderr.write(`server: ${path}: cannot be removed: ${failure}\n`);
}
