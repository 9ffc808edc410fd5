import { Header } from "tar";

const BLOCK = 512;

/** A file of a tar: its header and its bytes, with nothing that depends on the moment. */
export function* tarFile(path: string, bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
  const header = new Header({ path, size: bytes.length, mode: 0o644, type: "File", uid: 0, gid: 0 });
  header.mtime = new Date(0);
  const block = Buffer.alloc(BLOCK);
  header.encode(block, 0);
  yield block;
  yield bytes;
  yield new Uint8Array((BLOCK - (bytes.length % BLOCK)) % BLOCK);
}

/** The end of a tar. */
export function tarEnd(): Uint8Array {
  return new Uint8Array(2 * BLOCK);
}
