import type {
  DirectoryHandle,
  FileHandle,
  LockManager,
  Platform,
  StorageManager,
} from "../../src/browser/platform.js";

class MemoryFile implements FileHandle {
  readonly kind = "file";
  bytes = new Uint8Array(0);
  #open = false;

  constructor(
    readonly name: string,
    private readonly origin: MemoryOrigin,
  ) {}

  getFile(): Promise<File> {
    return Promise.resolve(new File([this.bytes], this.name));
  }

  createSyncAccessHandle(): ReturnType<NonNullable<FileHandle["createSyncAccessHandle"]>> {
    if (this.#open) return Promise.reject(new DOMException("open", "NoModificationAllowedError"));
    this.#open = true;
    const resize = (size: number): void => {
      const bytes = new Uint8Array(size);
      bytes.set(this.bytes.subarray(0, size));
      this.bytes = bytes;
    };
    return Promise.resolve({
      read: (into, { at }) => {
        const part = this.bytes.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      write: (bytes, { at }) => {
        const more = Math.max(0, at + bytes.length - this.bytes.length);
        if (this.origin.usage + more > this.origin.hardQuota)
          throw new DOMException("full", "QuotaExceededError");
        if (more > 0) resize(at + bytes.length);
        this.bytes.set(bytes, at);
        return bytes.length;
      },
      truncate: resize,
      getSize: () => this.bytes.length,
      flush: () => undefined,
      close: () => void (this.#open = false),
    });
  }
}

class MemoryDirectory implements DirectoryHandle {
  readonly kind = "directory";
  readonly #entries = new Map<string, MemoryFile | MemoryDirectory>();

  constructor(
    readonly name: string,
    private readonly origin: MemoryOrigin,
  ) {}

  async *entries(): AsyncGenerator<[string, MemoryFile | MemoryDirectory]> {
    yield* await Promise.resolve([...this.#entries]);
  }

  getFileHandle(name: string, options: { create?: boolean } = {}): Promise<MemoryFile> {
    return this.#get(name, options, () => new MemoryFile(name, this.origin));
  }

  getDirectoryHandle(name: string, options: { create?: boolean } = {}): Promise<MemoryDirectory> {
    return this.#get(name, options, () => new MemoryDirectory(name, this.origin));
  }

  removeEntry(name: string): Promise<void> {
    if (this.#entries.delete(name)) return Promise.resolve();
    return Promise.reject(new DOMException(name, "NotFoundError"));
  }

  get bytes(): number {
    let bytes = 0;
    for (const entry of this.#entries.values())
      bytes += entry instanceof MemoryDirectory ? entry.bytes : entry.bytes.length;
    return bytes;
  }

  #get<T extends MemoryFile | MemoryDirectory>(
    name: string,
    { create }: { create?: boolean },
    make: () => T,
  ): Promise<T> {
    const found = this.#entries.get(name) ?? (create ? make() : undefined);
    if (!found) return Promise.reject(new DOMException(name, "NotFoundError"));
    this.#entries.set(name, found);
    return Promise.resolve(found as T);
  }
}

/** A browser's storage in memory: what a page's visits share. */
export class MemoryOrigin {
  /** What `estimate` grants, and what writes are refused above, bytes. */
  quota = Infinity;
  hardQuota = Infinity;
  readonly root = new MemoryDirectory("", this);
  readonly #held = new Map<string, Promise<unknown>>();

  get usage(): number {
    return this.root.bytes;
  }

  /** The platform of a worker of this origin. */
  platform(gpu?: GPU): Platform {
    const storage: StorageManager = {
      estimate: () => Promise.resolve({ quota: this.quota, usage: this.usage }),
      getDirectory: () => Promise.resolve(this.root),
    };
    const locks: LockManager = {
      request: (name, _, body) => {
        const before = this.#held.get(name) ?? Promise.resolve();
        const run = before.then(() => body(undefined));
        this.#held.set(
          name,
          run.catch(() => undefined),
        );
        return run;
      },
    };
    return { gpu, storage, locks };
  }
}
