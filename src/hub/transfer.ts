import { type Hash, createHash } from "node:crypto";
import { type FileHandle, constants, open, rm } from "node:fs/promises";
import { naming } from "../node/write-error.js";
import type { HubFile } from "./cache.js";
import { HubError } from "./errors.js";
import { type Patience, type Purpose, body, get, label, persist, unreachable } from "./requests.js";

export interface Transfer {
  readonly purpose: Purpose;
  readonly file: HubFile;
  readonly url: string;
  /** The incomplete file. Bytes of an earlier run are kept. */
  readonly part: string;
  readonly patience: Patience;
  /** Called with the bytes of the part; fewer after a restart. */
  readonly onBytes: (done: number) => void;
  /** Ends the transfer, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const PIECE = 1 << 20;

/**
 * Downloads one file to `part`, resuming after the bytes there, and checks its size and hash:
 * SHA-256 for large-file storage, git's SHA-1 for others. (The client's downloadFileToCacheDir does
 * not resume, check or report progress.)
 * @throws HubError  refused, unreachable, of another size, or with another hash; a wrong part is
 *   deleted
 */
export async function downloadPart(transfer: Transfer): Promise<void> {
  const { part, file } = transfer;
  const handle = await naming(part, () => open(part, constants.O_RDWR | constants.O_CREAT)); // created if missing, never truncated
  try {
    const state = new Part(handle, transfer);
    await state.readKept();
    let before = state.done;
    const hasProgress = (): boolean => {
      const moved = state.done > before;
      before = state.done;
      return moved;
    };
    await persist(transfer.patience, () => fetchRest(state, transfer), hasProgress, transfer.signal);
    const got = state.hash.digest("hex");
    if (got !== (file.sha256 ?? file.oid)) throw new DamagedError(wrongHash(transfer, got));
    await handle.sync();
  } catch (error) {
    if (error instanceof DamagedError) await rm(part, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

/** The bytes are not those of the listing, so that a later run must not keep them. */
class DamagedError extends HubError {}

/** The downloaded bytes and their hash. */
class Part {
  done = 0;
  hash: Hash;

  constructor(
    private readonly handle: FileHandle,
    private readonly transfer: Transfer,
  ) {
    this.hash = newHash(transfer.file);
  }

  /** Hashes the bytes of an earlier run. */
  async readKept(): Promise<void> {
    const { size } = await this.handle.stat();
    if (size > this.transfer.file.size) return this.restart();
    const buffer = new Uint8Array(Math.min(PIECE, size));
    while (this.done < size) {
      const length = Math.min(buffer.length, size - this.done);
      const { bytesRead } = await this.handle.read(buffer, 0, length, this.done);
      if (bytesRead === 0) break;
      this.take(buffer.subarray(0, bytesRead));
    }
    this.transfer.onBytes(this.done);
  }

  async append(bytes: Uint8Array): Promise<void> {
    for (let written = 0; written < bytes.length;) {
      const left = bytes.length - written;
      const { bytesWritten } = await naming(this.transfer.part, () =>
        this.handle.write(bytes, written, left, this.done + written),
      );
      written += bytesWritten;
    }
    this.take(bytes);
    this.transfer.onBytes(this.done);
  }

  async restart(): Promise<void> {
    await this.handle.truncate(0);
    this.done = 0;
    this.hash = newHash(this.transfer.file);
    this.transfer.onBytes(0);
  }

  private take(bytes: Uint8Array): void {
    this.hash.update(bytes);
    this.done += bytes.length;
  }
}

async function fetchRest(part: Part, { purpose, file, url, patience, signal }: Transfer): Promise<void> {
  if (part.done === file.size) return;
  signal?.throwIfAborted();
  const control = new AbortController();
  signal?.addEventListener("abort", () => control.abort(), { signal: control.signal });
  const stall = setTimeout(() => control.abort(), patience.stallMs);
  try {
    const headers: Record<string, string> = part.done > 0 ? { range: `bytes=${part.done}-` } : {};
    const response = await get(purpose, url, { headers, signal: control.signal }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw error;
    });
    if (response.status !== 206 && part.done > 0) await part.restart(); // the server ignores ranges
    checkOffer(response, part.done, purpose, file);
    try {
      for await (const chunk of body(response)) {
        stall.refresh();
        signal?.throwIfAborted();
        if (part.done + chunk.length > file.size) throw new DamagedError(wrongSize(purpose, file, "more"));
        await part.append(chunk);
      }
    } catch (cause) {
      signal?.throwIfAborted();
      if (!isBroken(cause)) throw cause;
      const stalled = control.signal.aborted;
      const why = stalled ? `no byte for ${patience.stallMs / 1000} s` : "the connection broke";
      throw unreachable(purpose, why, { cause });
    }
    if (part.done < file.size)
      throw unreachable(purpose, `the answer ended after ${part.done} of ${file.size} bytes`);
  } finally {
    clearTimeout(stall);
    control.abort(); // releases a body that was not read to its end
  }
}

/** True for errors of an interrupted stream. Errors of the disk have a system call. */
function isBroken(error: unknown): boolean {
  return error instanceof DOMException || (error instanceof TypeError && !("syscall" in error));
}

function checkOffer(response: Response, from: number, purpose: Purpose, file: HubFile): void {
  if (response.status === 206 || response.status === 416) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
    if (range && Number(range[1]) === from && (range[2] === "*" || Number(range[2]) === file.size)) return;
    const got = response.status === 416 ? "fewer" : "a range of another file";
    throw new DamagedError(wrongSize(purpose, file, got));
  }
  const length = response.headers.get("content-length");
  if (length === null || response.headers.has("content-encoding") || Number(length) === file.size) return;
  throw new DamagedError(wrongSize(purpose, file, length));
}

const damagedAdvice =
  "the download is deleted: run the command again, and if it repeats, something between here and the hub changes files";

function wrongSize({ name }: Purpose, { path, size }: HubFile, got: string): string {
  return `${label(name, path)}: expected ${size} bytes, got ${got}; ${damagedAdvice}`;
}

function wrongHash({ purpose, file }: Transfer, got: string): string {
  const expected = file.sha256 ? `SHA-256 ${file.sha256.slice(0, 12)}` : `git SHA-1 ${file.oid.slice(0, 12)}`;
  return `${label(purpose.name, file.path)}: expected ${expected}…, got ${got.slice(0, 12)}…; ${damagedAdvice}`;
}

function newHash({ sha256, size }: HubFile): Hash {
  return sha256 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}
