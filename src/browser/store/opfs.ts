import { BrowserError } from "../errors.js";
import type { DirectoryHandle, LockManager, Platform, StorageManager, SyncAccess } from "../platform.js";
import { bytes as size } from "../../report/text.js";
import { type FetchOptions, ask, pieces } from "./fetching.js";
import { sumOf } from "./hash.js";
import { type ListedFile, type Listing, parseKept } from "./listing.js";

const root = "funasr-webgpu";

/** Name of a file's content in the store. */
function nameOf({ hash }: Pick<ListedFile, "hash">): string {
  return `${hash.kind}-${hash.value}`;
}

/** A model, by the key of its address. */
export interface Wanted {
  readonly key: string;
  readonly listing: Listing;
}

/** A listing in the store. */
interface Kept extends Wanted {
  /** Of the file. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly used: number;
}

/**
 * Models in the browser's storage (OPFS): the contents of files by their hashes, beside each an empty
 * file NAME.ok once it is whole, and the listings of models: KEY.json of one whose files were all
 * here, KEY.next.json of one that is on its way.
 */
export class Store {
  private constructor(
    private readonly storage: StorageManager,
    private readonly locks: LockManager | undefined,
    private readonly contents: DirectoryHandle,
    private readonly models: DirectoryHandle,
  ) {}

  /** @returns  undefined where the browser keeps nothing, as in some private windows */
  static async open({ storage, locks }: Platform): Promise<Store | undefined> {
    try {
      const top = await storage?.getDirectory?.();
      const own = await top?.getDirectoryHandle(root, { create: true });
      if (!storage || !own) return undefined;
      const contents = await own.getDirectoryHandle("contents", { create: true });
      const models = await own.getDirectoryHandle("models", { create: true });
      const probe = await contents.getFileHandle("probe", { create: true });
      return probe.createSyncAccessHandle ? new Store(storage, locks, contents, models) : undefined;
    } catch {
      return undefined;
    }
  }

  /** The listing that was kept of a model, all of whose files were here. */
  async listing(key: string): Promise<Listing | undefined> {
    const file = await this.models.getFileHandle(`${key}.json`).catch(() => undefined);
    return file && parseKept(await (await file.getFile()).text());
  }

  /**
   * Keeps the listing of a model whose files are all here, as the one that was used last; where the
   * storage has no room for it, the one before stays.
   */
  async keep({ key, listing }: Wanted): Promise<void> {
    try {
      await this.#list(`${key}.json`, listing);
    } catch (error) {
      if (!isFull(error)) throw error;
      return;
    }
    await this.models.removeEntry(`${key}.next.json`).catch(() => undefined);
  }

  async #list(name: string, listing: Listing): Promise<void> {
    const file = await this.models.getFileHandle(name, { create: true });
    const text = new TextEncoder().encode(JSON.stringify({ ...listing, used: Date.now() }));
    const access = await file.createSyncAccessHandle!().catch(() => undefined);
    if (!access) return; // another tab writes the same
    try {
      access.write(text, { at: 0 });
      access.truncate(text.length);
      access.flush();
    } finally {
      access.close();
    }
  }

  /** A file's content; undefined where it is not whole. */
  async find(file: ListedFile): Promise<File | undefined> {
    const name = nameOf(file);
    const whole = await this.contents.getFileHandle(`${name}.ok`).catch(() => undefined);
    const content = whole && (await this.contents.getFileHandle(name).catch(() => undefined));
    const found = await content?.getFile();
    return found?.size === file.size ? found : undefined;
  }

  /**
   * Makes room for models that are opened together, and lists those that are not here as on their
   * way. Deletes first what no listing has, then the other models, those that were used the longest
   * ago first, then what these models had before.
   * @throws BrowserError  "quota": there is no room even so; nothing is deleted
   */
  async reserve(wants: readonly Wanted[]): Promise<void> {
    const need = await this.#missing(wants);
    const { quota, usage } = (await this.storage.estimate?.()) ?? {};
    if (need > 0 && quota !== undefined && usage !== undefined && need > quota - usage)
      await this.#free(wants, need, quota - usage);
    for (const { key, listing } of wants)
      if ((await this.#missing([{ key, listing }])) > 0) await this.#list(`${key}.next.json`, listing);
  }

  /** Bytes that are not here. */
  async #missing(wants: readonly Wanted[]): Promise<number> {
    const files = new Map(wants.flatMap(({ listing }) => listing.files.map((file) => [nameOf(file), file])));
    let bytes = 0;
    for (const file of files.values())
      if (!(await this.find(file))) bytes += file.size - Math.min(file.size, await this.#begun(file));
    return bytes;
  }

  async #free(wants: readonly Wanted[], need: number, free: number): Promise<void> {
    const wanted = new Set(wants.flatMap(({ listing }) => listing.files.map(nameOf)));
    const garbage = await this.#sizes((name) => !wanted.has(name));
    const removable = [...garbage.values()].reduce((sum, bytes) => sum + bytes, 0);
    if (need > free + removable)
      throw new BrowserError(
        "quota",
        `${wants.map(({ listing }) => listing.name).join(" and ")}: the download takes ${size(need)}, the browser grants this page ${size(Math.max(0, free + removable))}; ` +
          `${size(need - free - removable)} are missing: free disk space, leave the private window, or choose files of this computer`,
      );
    const own = new Set(wants.map(({ key }) => key));
    const kept = (await this.#kept()).sort((a, b) => a.used - b.used);
    const others = kept.filter(({ key }) => !own.has(key));
    let left = need - free;
    const remove = async (stays: readonly Kept[]): Promise<void> => {
      const staying = new Set(stays.flatMap(({ listing }) => listing.files.map(nameOf)));
      for (const [name, bytes] of garbage) {
        if (staying.has(name)) continue;
        await this.#remove(name);
        garbage.delete(name);
        left -= bytes;
      }
    };
    await remove(kept);
    for (const other of others) {
      if (left <= 0) return;
      kept.splice(kept.indexOf(other), 1);
      await remove(kept);
      await this.models.removeEntry(other.name).catch(() => undefined);
    }
    if (left <= 0) return;
    for (const { name } of kept) await this.models.removeEntry(name).catch(() => undefined);
    await remove([]);
  }

  /**
   * Downloads a file; a download that broke off goes on. Tabs that want the same file wait for one.
   * @param onBytes  gets the bytes of this file that are here
   * @throws BrowserError  "network", "quota", "damaged"
   */
  async download(file: ListedFile, options: FetchOptions, onBytes: (bytes: number) => void): Promise<File> {
    const body = async (): Promise<File> => {
      const found = await this.find(file);
      if (found) return found;
      const resumed = await this.#fetch(file, options, onBytes);
      const whole = (await this.#check(file)) || (resumed && (await this.#anew(file, options, onBytes)));
      if (!whole)
        throw new BrowserError(
          "damaged",
          `${file.url}: the bytes are not those of the listing (${file.hash.kind} ${file.hash.value}); load the page again, or make the listing anew`,
        );
      await this.contents.getFileHandle(`${nameOf(file)}.ok`, { create: true });
      return (await this.find(file))!;
    };
    if (!this.locks) return body();
    return this.locks.request(`${root}:${nameOf(file)}`, { signal: options.signal }, body);
  }

  async #begun(file: ListedFile): Promise<number> {
    const handle = await this.contents.getFileHandle(nameOf(file)).catch(() => undefined);
    return handle ? (await handle.getFile()).size : 0;
  }

  /** Downloads what is missing of a file, or all of it. @returns  whether it began in its midst */
  async #fetch(file: ListedFile, options: FetchOptions, onBytes: (bytes: number) => void): Promise<boolean> {
    const handle = await this.contents.getFileHandle(nameOf(file), { create: true });
    let at = (await handle.getFile()).size;
    if (at === file.size && at > 0) return true;
    if (at > file.size) at = 0;
    const range = at > 0 ? { range: `bytes=${at}-` } : undefined;
    const answer = await ask(file.url, { ...options, headers: { ...options.headers, ...range } });
    if (answer.status !== 206) at = 0;
    const resumed = at > 0;
    const access = await handle.createSyncAccessHandle!();
    try {
      access.truncate(at);
      onBytes(at);
      for await (const piece of pieces(answer, file.url, options.signal)) {
        if (at + piece.length > file.size) break; // another file: its hash will not fit
        access.write(piece, { at });
        onBytes((at += piece.length));
      }
      access.flush();
    } catch (cause) {
      flushed(access);
      throw isFull(cause) ? full(file, cause) : cause;
    } finally {
      access.close();
    }
    if (at < file.size)
      throw new BrowserError(
        "network",
        `${file.url}: the download broke off at ${at} of ${file.size} bytes; load the page again, and it goes on`,
      );
    return resumed;
  }

  /** Deletes a file that is not what it should be, and downloads it from its begin. */
  async #anew(file: ListedFile, options: FetchOptions, onBytes: (bytes: number) => void): Promise<boolean> {
    await this.#fetch(file, options, onBytes);
    return this.#check(file);
  }

  /** Whether a file has its hash; if not it is deleted. */
  async #check(file: ListedFile): Promise<boolean> {
    const content = await (await this.contents.getFileHandle(nameOf(file))).getFile();
    const sum = sumOf(file);
    for (let at = 0; at < content.size; at += hashed)
      sum.update(new Uint8Array(await content.slice(at, at + hashed).arrayBuffer()));
    if (sum.end() === file.hash.value) return true;
    await this.#remove(nameOf(file));
    return false;
  }

  async #kept(): Promise<Kept[]> {
    const kept: Kept[] = [];
    for await (const [name, handle] of this.models.entries()) {
      const text = handle.kind === "file" ? await (await handle.getFile()).text() : "";
      const listing = parseKept(text);
      const used = /"used":(\d+)\}$/.exec(text);
      const key = name.replace(/(\.next)?\.json$/, "");
      if (listing) kept.push({ name, key, listing, used: Number(used?.[1] ?? 0) });
    }
    return kept;
  }

  /** Bytes of the contents that pass. */
  async #sizes(passes: (name: string) => boolean): Promise<Map<string, number>> {
    const sizes = new Map<string, number>();
    for await (const [name, handle] of this.contents.entries())
      if (handle.kind === "file" && !name.endsWith(".ok") && passes(name))
        sizes.set(name, (await handle.getFile()).size);
    return sizes;
  }

  /** Deletes a content; one that another tab has open stays. */
  async #remove(name: string): Promise<void> {
    await this.contents.removeEntry(`${name}.ok`).catch(() => undefined);
    await this.contents.removeEntry(name).catch(() => undefined);
  }
}

const hashed = 4 << 20; // bytes of a step

/** Keeps what was written, as far as there is room. */
function flushed(access: SyncAccess): void {
  try {
    access.flush();
  } catch {
    // the hash shows what is missing
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && error.name === "QuotaExceededError";
}

function full(file: ListedFile, cause: unknown): BrowserError {
  const message = `${file.url}: the browser's storage is full; free disk space, or choose files of this computer`;
  return new BrowserError("quota", message, { cause });
}
