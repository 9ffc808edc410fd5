/// <reference types="@webgpu/types" preserve="true" />
/**
 * What this room uses of a browser, by structure: the package's types need no DOM library, and tests
 * run the same code in Node.
 */

/** An event of a worker or of its scope. */
export interface PortEvent {
  /** Of "message". */
  readonly data?: unknown;
  /** Of "error". */
  readonly message?: string;
  preventDefault(): void;
}

/** One end of a worker: the page's `Worker`, and the worker's own scope. */
export interface MessageEnd {
  /** Sends a message; the buffers are moved. */
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  /** Of "message", "messageerror" and "error". */
  addEventListener(type: string, listener: (event: PortEvent) => void): void;
}

/** A page's `Worker`. */
export interface PageWorker extends MessageEnd {
  /** Ends the worker at once. */
  terminate(): void;
}

/** `FileSystemSyncAccessHandle`. */
export interface SyncAccess {
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** `FileSystemFileHandle`. */
export interface FileHandle {
  readonly kind: "file";
  readonly name: string;
  getFile(): Promise<File>;
  createSyncAccessHandle?(): Promise<SyncAccess>;
}

/** `FileSystemDirectoryHandle`. */
export interface DirectoryHandle {
  readonly kind: "directory";
  readonly name: string;
  /** Its files and directories, by name. */
  entries(): AsyncIterable<[string, FileHandle | DirectoryHandle]>;
  /** Opens a file, or makes it. */
  getFileHandle(name: string, options?: { create?: boolean }): Promise<FileHandle>;
  /** Opens a directory, or makes it. */
  getDirectoryHandle(name: string, options?: { create?: boolean }): Promise<DirectoryHandle>;
  /** Deletes a file or a directory. */
  removeEntry(name: string, options?: { recursive?: boolean }): Promise<void>;
}

/** `navigator.storage`. */
export interface StorageManager {
  estimate?(): Promise<{ usage?: number; quota?: number }>;
  persist?(): Promise<boolean>;
  getDirectory?(): Promise<DirectoryHandle>;
}

/** `navigator.locks`. */
export interface LockManager {
  request<T>(
    name: string,
    options: { signal?: AbortSignal; mode?: "exclusive" | "shared"; ifAvailable?: boolean },
    body: (lock: unknown) => Promise<T>,
  ): Promise<T>;
}

/** What the engine's worker uses of `navigator`. */
export interface Platform {
  readonly gpu?: GPU | undefined;
  readonly storage?: StorageManager | undefined;
  readonly locks?: LockManager | undefined;
  readonly userAgent?: string | undefined;
}
